/** What `--help` prints. */
export const HELP = `\
Run a program while a directory is locked, and replace files atomically.

Usage:
  aperture-atomic lock [OPTION...] DIR [--] COMMAND [ARG...]
  aperture-atomic write [OPTION...] FILE [-- COMMAND [ARG...]]
  aperture-atomic sweep [OPTION...] DIR
  aperture-atomic holders [--lock-file NAME] DIR
  aperture-atomic --help | --version
Options go before DIR or FILE, or directly after it.

lock runs COMMAND while holding the lock on DIR, and exits with COMMAND's exit
code. The lock is the one that flock(1) takes on the file DIR/.aperture.lock.
  -s, --shared              share the lock with other --shared holders
  -n, --nonblock, --try     do not wait for the lock
  -w, --timeout SECONDS     wait at most SECONDS
  -E, --conflict-code N     exit code if the lock is not free [75]
      --lock-file NAME      name of the lock file in DIR [.aperture.lock]
      --parents             create DIR and its parents if they are missing
      --verbose             after a second, say which process holds the lock;
                            the default if standard error is a terminal
The flock(1) options -x, --exclusive, --wait and --conflict-exit-code also work.

write replaces FILE with its standard input, or with the output of COMMAND if
COMMAND exits with 0. FILE is unchanged if COMMAND fails or if write receives
SIGHUP, SIGINT, SIGQUIT or SIGTERM. Readers see the old content or the new.
      --mode OCTAL          exact permission bits [those of FILE; for a new
                            file 666 minus the umask]
      --durability D        none, consistent or durable [consistent]
      --create-new          fail if FILE exists
      --parents             create missing parent directories

sweep removes temporary files that killed programs left behind in DIR, and
prints their paths.
      --older-than DURATION such as 30s, 10m, 2h or 1d [1h]
      --recursive           also sweep all directories below DIR

holders prints the ids of the processes that hold the lock on DIR. It exits
with 1 if there are none, and with 69 if the system does not report them. On
Deno, it requires --allow-all.

Exit codes:
  64     usage error, or no input
  69     not supported on this system or runtime
  74     a file cannot be read, written or locked
  75     the lock is not free
  126    COMMAND cannot be run
  127    COMMAND was not found
  128+n  signal n terminated aperture-atomic or COMMAND

Examples:
  aperture-atomic lock /var/cache/app -- make cache
  aperture-atomic lock -n . -- ./backup.sh || echo "already running"
  aperture-atomic write --mode 600 token.json -- curl -sSf https://example.com/t
  sort names.txt | aperture-atomic write names.txt
`;
