// engine/miss_engine.h in random stories: engine_story.h says what holds in all of them.
#include "engine_story.h"
#include "support.h"

TEST_CASE("engine: what always holds, in random stories") {
  constexpr std::uint64_t kStories = 400;
  for (std::uint64_t seed = 1; seed <= kStories; ++seed) {
    support::Random random(seed);
    int steps = 400;
    const std::string wrong =
        support::play_story([&](std::uint32_t bound) { return random.below(bound); }, [&] { return steps-- > 0; });
    INFO("seed " << seed << ": " << wrong);
    REQUIRE(wrong.empty());
  }
}
