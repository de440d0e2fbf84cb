/** A container of Docker's, or of another engine that listens where Docker does. */
import { dockerConnection, otherSockets } from './docker-address.js';
import { engineKind } from './engine.js';
import type { Engine, Reason } from './engine-api.js';

export const dockerEngine: Engine<'docker'> = {
  title: 'Docker',
  command: 'docker',
  code: 'OVERNS_DOCKER',
  start: 'start Docker',
  naming: "name Docker's socket with `docker` or DOCKER_HOST",
  access: 'run as root or as a member of the group "docker"',
  connection: ({ docker }) => dockerConnection(docker),
  elsewhere({ socketPath }) {
    const other = otherSockets().find((path) => path !== socketPath);
    return other && `another daemon listens at ${other}: DOCKER_HOST=unix://${other}`;
  },
  tls: {
    wanted: 'set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of its certificates',
    explain: explainTls,
  },
};

export const docker = engineKind(dockerEngine);

/** Codes of TLS: OpenSSL's codes, Node's of certificates, alerts of the server. */
function explainTls(code: string, message: string): Reason | undefined {
  if (/^(ERR_TLS|CERT_|UNABLE_|DEPTH_ZERO|SELF_SIGNED)/.test(code))
    return [
      `its certificate is not trusted: ${message}`,
      'DOCKER_CERT_PATH names a directory with the ca.pem that signed it',
    ];
  if (/WRONG_VERSION|wrong version/i.test(`${code} ${message}`))
    return ['it does not speak TLS', 'unset DOCKER_TLS_VERIFY and DOCKER_TLS'];
  if (/alert|EPIPE|ECONNRESET|UND_ERR_SOCKET/i.test(`${code} ${message}`))
    return [
      `it ended the TLS connection: ${message}`,
      'it may want a certificate: DOCKER_CERT_PATH names a directory with cert.pem and key.pem',
    ];
  return undefined;
}
