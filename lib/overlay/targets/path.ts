/** The file of a network namespace, as a container. */
import { isAbsolute } from 'node:path';
import { checkNetns } from '../../netns/references.js';
import { netnsTarget, type TargetKind } from './target.js';

export const path: TargetKind<'path'> = {
  scheme: 'path',
  form: 'an absolute path',
  claims: isAbsolute,
  fromText(text, argument) {
    checkNetns(text, argument);
    return netnsTarget(text, text);
  },
  fromProperty(value, argument) {
    const ref = { path: value };
    checkNetns(ref, argument);
    return netnsTarget(ref, ref.path);
  },
};
