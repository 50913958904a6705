// What was changed from elsewhere stands in the log, with whose certificate it was.

import type { RequestListener } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../base/logger';

/** The same application; what it is asked to change, and how that ended, is logged. `way` says how they come in. */
export function logChanges(app: RequestListener, way: string, logger: Logger): RequestListener {
  return (request, response) => {
    const { method, url: path } = request;
    // Afterwards the connection may be gone.
    const by = nameOf(request.socket as TLSSocket);
    if (method !== 'GET' && method !== 'HEAD') {
      response.on('close', () => {
        const status = response.headersSent ? response.statusCode : 'no answer';
        logger.info(`asked ${way}`, { by, method, path, status });
      });
    }
    app(request, response);
  };
}

/** The common name: of hosts of the cluster, their name. */
function nameOf(socket: TLSSocket): string {
  const { subject } = socket.getPeerCertificate() as { subject?: { CN?: string | string[] } };
  return String(subject?.CN ?? 'a certificate without a name');
}
