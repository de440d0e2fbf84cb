/** The agent as a class: what it serves, and what it tells whom. */
import { expect, test } from 'vitest';
import { Agent, type AgentEvent, type AgentOptions, Overlay, type Store } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { type Host, twoHosts, uniqueName } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

const store: Store = { lookup: () => null };

async function start(options: Partial<AgentOptions>): Promise<Agent> {
  const agent = await Agent.start({ store, ...options });
  onCleanup(() => agent.close());
  return agent;
}

async function create(host: Host, vni: number): Promise<Overlay> {
  const overlay = await Overlay.create({ name: uniqueName(), vni, host: host.name });
  onCleanup(() => overlay.close());
  return overlay;
}

/** The events that a subscriber is told of, as they come. */
function listen(agent: Agent): { readonly events: AgentEvent[]; readonly ended: Promise<void> } {
  const events: AgentEvent[] = [];
  const stream = agent.events();
  const ended = (async () => {
    for await (const event of stream) events.push(event);
  })();
  return { events, ended };
}

describeWith(['root', 'ip'], 'an agent', () => {
  test('tells whoever comes later what holds: served, refused, and an underlay that is not what it was', async () => {
    const [host] = await twoHosts();
    const overlay = await create(host, 42);
    const agent = await start({ overlays: [overlay.name], host: host.name });
    const early = listen(agent);
    await until(() => early.events.some(({ kind }) => kind === 'serving'));
    await host.ip('link set under0 down');
    await until(() => early.events.some((event) => event.kind === 'underlay' && event.fault !== undefined));
    const late = listen(agent);
    await until(() => late.events.length >= 2);
    expect(late.events).toMatchObject([
      { overlay: overlay.name, kind: 'serving' },
      { overlay: overlay.name, kind: 'underlay', fault: { code: 'ENETDOWN' } },
    ]);
    await host.ip('link set under0 up');
    await until(() => late.events.at(-1)?.kind === 'underlay' && !('fault' in (late.events.at(-1) as object)));
    const last = listen(agent);
    await until(() => last.events.length >= 1);
    expect(last.events).toMatchObject([{ kind: 'serving' }]);
    await agent.close();
    await Promise.all([early.ended, late.ended, last.ended, agent.closed]);
    expect(() => agent.events()).toThrow(expect.objectContaining({ code: 'OVERNS_CLOSED' }));
  });

  test('lets go of an overlay that is deleted, and serves it when it comes back', async () => {
    const [host] = await twoHosts();
    const overlay = await create(host, 42);
    const { name } = overlay;
    const agent = await start({ overlays: [name], host: host.name });
    const { events } = listen(agent);
    await overlay.delete();
    await until(() => events.some(({ kind }) => kind === 'gone'));
    expect(agent.overlays()).toEqual([]);
    const again = await Overlay.create({ name, vni: 43, host: host.name });
    onCleanup(() => again.close());
    await until(() => agent.overlays().length === 1);
    await until(() => events.at(-1)?.kind === 'serving');
    expect(events.map(({ kind }) => kind)).toEqual(['serving', 'overlay-lost', 'gone', 'serving']);
  });

  test('that cannot start serves nothing, and holds nothing open', async () => {
    const [host] = await twoHosts();
    const overlay = await create(host, 42);
    const names = [overlay.name, uniqueName()];
    await expect(Agent.start({ store, overlays: names, host: host.name })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(Agent.start({ store, overlays: ['a/b'] })).rejects.toThrow(RangeError);
    await expect(Agent.start({ store, overlay: [] } as never)).rejects.toThrow(/did you mean overlays/);
    await expect(Agent.start({} as never)).rejects.toThrow(TypeError);
    const controller = new AbortController();
    const started = Agent.start({ store, overlays: [overlay.name], host: host.name, signal: controller.signal });
    controller.abort();
    await expect(started).rejects.toMatchObject({ code: 'ABORT_ERR' });
    // Nobody holds the overlay: another one may serve it at once.
    const agent = await start({ overlays: [overlay.name], host: host.name });
    await overlay.delete();
    await until(() => agent.overlays().length === 0);
  });
});
