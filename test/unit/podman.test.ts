/** Where Podman is said to listen, and how its containers are written; what it answers is Docker's API: see docker.test.ts. */
import { afterEach, expect, test, vi } from 'vitest';
import { checkContainer, resolveContainer } from '../../lib/overlay/targets/container.js';
import { machine } from '../../lib/system/system.js';

afterEach(() => vi.unstubAllEnvs());

const find = (host: string | undefined) => {
  vi.stubEnv('CONTAINER_HOST', host);
  return expect(resolveContainer({ podman: 'demo' }, { docker: '/nonexistent', system: machine })).rejects;
};

test.each([
  ['unix:///nonexistent/podman.sock', '/nonexistent/podman.sock'],
  // As Podman's own command reads it.
  ['unix://nonexistent/podman.sock', '/nonexistent/podman.sock'],
])('%s is taken', async (host, shown) => {
  await find(host).toMatchObject({
    code: 'OVERNS_PODMAN',
    message: `Podman cannot be reached at ${shown}: no such socket`,
    hint: expect.stringContaining('CONTAINER_HOST'),
  });
});

test.each([
  ['ssh://root@example.org/run/podman/podman.sock', /run overns on that machine/],
  ['tcp://127.0.0.1:8080', /on its unix socket alone/],
  ['/run/podman/podman.sock', /unix:\/\/\/PATH/],
  ['unix://', /unix:\/\/\/PATH/],
  ['unix:///', /unix:\/\/\/PATH/],
  ['podman', /unix:\/\/\/PATH/],
  ['x'.repeat(10_000), /^.{0,300}$/],
])('%.40j is refused in words', async (host, why) => {
  await find(host).toMatchObject({
    code: 'OVERNS_PODMAN',
    message: expect.stringMatching(why),
    hint: 'correct CONTAINER_HOST, or unset it for /run/podman/podman.sock',
  });
  await find(host).toMatchObject({ message: expect.stringMatching(/^CONTAINER_HOST: "/) });
});

test("an option for Docker says nothing of Podman, nor does Podman's of Docker", async () => {
  vi.stubEnv('CONTAINER_HOST', 'unix:///nonexistent/podman.sock');
  await expect(resolveContainer('docker:demo', { docker: '/nonexistent', system: machine })).rejects.toMatchObject({
    code: 'OVERNS_DOCKER',
    message: 'Docker cannot be reached at /nonexistent: no such socket',
  });
});

test('names that never reach a URL', () => {
  for (const wrong of ['podman:', 'podman:../x', 'podman:a b', { podman: '' }, { podman: 'a/b' }])
    expect(() => checkContainer(wrong)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
  expect(() => checkContainer({ podman: 1 } as never)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
  );
});
