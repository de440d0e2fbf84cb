/** A named network namespace, as a container. */
import { isAbsolute } from 'node:path';
import { invalidArgument } from '../../core/errors.js';
import { checkNetns } from '../../netns/references.js';
import { netnsTarget, type TargetKind } from './target.js';

export const netns: TargetKind<'netns'> = {
  scheme: 'netns',
  form: 'netns:NAME',
  fromText(name, argument) {
    if (name === '') throw invalidArgument(argument, 'netns:', 'a container: a name is missing');
    checkNetns(name, argument);
    return netnsTarget(name, isAbsolute(name) ? name : `netns:${name}`);
  },
};
