/*
 * The minimum cost of a directory lock: in a loop, opens a file, locks it, holds it for 200 µs and
 * closes it.
 *
 *     flock LOCKFILE MILLISECONDS
 *
 * Prints "ready", waits for a line on standard input, and finally prints the number of turns.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 3) return 64;
  puts("ready");
  fflush(stdout);
  getchar();
  double end = now() + atof(argv[2]);
  long turns = 0;
  for (; now() < end; turns++) {
    int descriptor = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0 || flock(descriptor, LOCK_EX) != 0) return 1;
    for (double held = now() + 0.2; now() < held;);
    close(descriptor);
  }
  printf("%ld\n", turns);
  return 0;
}
