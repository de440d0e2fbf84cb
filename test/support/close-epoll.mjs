// Preloaded with --import: at SIGUSR2 the process closes the epoll descriptor of its resolver thread, as a fault of some
// other code in it would. The thread notices with the next event.
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Number of sockets that an overlay has the thread watch, at the least. */
const SOCKETS = 4;

/** libuv's descriptors bear their own number as data, the thread's that of an overlay, from 1, times 8, and a source. */
function isThreads(fd) {
  const watched = [...readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').matchAll(/tfd: +(\d+) .* data: +([0-9a-f]+)/g)];
  return watched.filter(([, , data]) => Number.parseInt(data, 16) >> 3 === 1).length >= SOCKETS;
}

function isEpoll(fd) {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).includes('eventpoll');
  } catch {
    return false; // that of the listing
  }
}

process.on('SIGUSR2', () => {
  const fd = Number(readdirSync('/proc/self/fd').find((each) => isEpoll(each) && isThreads(each)));
  closeSync(fd);
  // The number must not become another's, whose the thread closes at its end.
  while (openSync('/dev/null') < fd);
});
