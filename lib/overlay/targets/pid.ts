/** The network namespace of a process, as a container. */
import { checkNetns, parseNetns } from '../../netns/references.js';
import { netnsTarget, type TargetKind } from './target.js';

export const pid: TargetKind<'pid', number> = {
  scheme: 'pid',
  form: 'pid:N',
  fromText(text, argument) {
    return netnsTarget(parseNetns(`pid:${text}`, argument), `pid:${text}`);
  },
  fromProperty(value, argument) {
    const ref = { pid: value };
    checkNetns(ref, argument);
    return netnsTarget(ref, `pid:${ref.pid}`);
  },
};
