/** What the command prints of itself. */
export const HELP = `\
Run a command while a directory is locked, and replace files atomically.

Usage:
  aperture-atomic lock [OPTION...] DIR [--] COMMAND [ARG...]
  aperture-atomic write [OPTION...] FILE [-- COMMAND [ARG...]]
  aperture-atomic sweep [--older-than DURATION] DIR
  aperture-atomic holders [--lock-file NAME] DIR
  aperture-atomic --help | --version
Options may stand behind DIR or FILE too, up to COMMAND.

lock runs COMMAND while it holds the lock of DIR, which is created if it is
missing. Its exit code is that of COMMAND.
  -s, --shared              share the lock with others who share it
  -n, --nonblock, --try     do not wait
  -w, --timeout SECONDS     wait no longer than that
  -E, --conflict-code N     exit code when the lock is not free [75]
      --lock-file NAME      name of the file in DIR that is locked
                            [.aperture.lock]
-x, --exclusive (the default), --wait and --conflict-exit-code are understood
as by flock(1), which keeps out and is kept out on the file DIR/.aperture.lock.
If this process is killed with SIGKILL, the lock is free while COMMAND runs on.
nohup(1) belongs in front of COMMAND: it has no effect on aperture-atomic.

write replaces FILE by its standard input, or by the output of COMMAND if
that exits with 0: else FILE stays as it is. So it does after SIGHUP, SIGINT,
SIGQUIT or SIGTERM, even if COMMAND then exits with 0. Readers see the old
content or the new, whole.
      --mode OCTAL          permission bits [those of FILE, else the umask's]
      --durability D        none, consistent or durable [consistent]
      --create-new          fail if FILE is there
      --parents             make directories that are missing

sweep removes temporary files in DIR that killed programs have left, and
prints their names.
      --older-than DURATION such as 30s, 10m, 2h or 1d [1h]

holders prints the ids of the processes that hold the lock of DIR. Its exit
code is 1 if there are none, 69 if the system does not tell. On Deno it wants
--allow-all.

Exit codes:
  64   wrong usage
  74   a file cannot be read, written or locked
  75   the lock is not free
  126  COMMAND cannot be run
  127  COMMAND is not found
  128+n  ended by signal n, or COMMAND was

Examples:
  aperture-atomic lock /var/cache/app -- make cache
  aperture-atomic lock -n . -- ./backup.sh || echo "it runs already"
  aperture-atomic write --mode 600 token.json -- curl -sSf https://example.com/t
  sort names.txt | aperture-atomic write names.txt
`;
