// Exit codes from sysexits.h.
/** The arguments are wrong. */
export const EX_USAGE = 64;
/** The operating system or the runtime does not support the operation, or koffi is missing. */
export const EX_UNAVAILABLE = 69;
/** A file could not be read, written or locked. */
export const EX_IOERR = 74;
/** The lock is not free. */
export const EX_TEMPFAIL = 75;

/** A failure with its own exit code. */
export class ExitError extends Error {
  /** The exit code of the command. */
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** An error in the arguments. */
export class UsageError extends ExitError {
  constructor(message: string) {
    super(EX_USAGE, message);
  }
}
