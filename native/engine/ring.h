// A first-in, first-out queue in one block that doubles; the steady state allocates nothing.
#pragma once

#include <cstdint>
#include <vector>

namespace overns {

template <class Item>
class Ring {
 public:
  bool empty() const { return head_ == tail_; }
  std::size_t size() const { return static_cast<std::size_t>(tail_ - head_); }
  Item& front() { return items_[head_ & (items_.size() - 1)]; }
  const Item& front() const { return items_[head_ & (items_.size() - 1)]; }
  void pop() { ++head_; }
  void push(const Item& item) {
    if (size() == items_.size()) grow();
    items_[tail_++ & (items_.size() - 1)] = item;
  }
  void clear() { head_ = tail_ = 0; }

 private:
  void grow() {
    std::vector<Item> larger(items_.empty() ? 64 : items_.size() * 2);
    const std::size_t count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = items_[(head_ + i) & (items_.size() - 1)];
    items_.swap(larger);
    head_ = 0;
    tail_ = count;
  }

  std::vector<Item> items_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace overns
