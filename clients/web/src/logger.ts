/** Receives the log of a session, for example `console`. No message contains a token. */
export interface Logger {
  debug(message: string, ...details: unknown[]): void;
  info(message: string, ...details: unknown[]): void;
  warn(message: string, ...details: unknown[]): void;
  error(message: string, ...details: unknown[]): void;
}

/** Reports an error of a handler of the application. */
export type ReportHandlerError = (error: unknown) => void;

/** Wraps `logger` so that it never throws. Without `logger`, logs nothing. */
export function safeLogger(logger: Logger | undefined): Logger {
  const log = (level: keyof Logger) => (message: string, details: unknown) => {
    try {
      logger?.[level](`signalbox: ${message}`, details);
    } catch {
      // A faulty logger must not break the session that it observes.
    }
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** Reports errors of handlers to the logger, or as uncaught errors without a logger. */
export function handlerErrorReporter(logger: Logger | undefined): ReportHandlerError {
  return logger ? (error) => safeLogger(logger).error('an event handler failed', error) : reportUncaught;
}

function reportUncaught(error: unknown): void {
  const report = (globalThis as { reportError?: (error: unknown) => void }).reportError;
  // biome-ignore lint/suspicious/noConsole: Node has no reportError, and an uncaught error would end its process.
  (report ?? console.error)(error);
}
