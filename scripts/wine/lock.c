// A native program that acquires the directory lock with LockFileEx, for
// tests/lock/runtimes_test.ts:
//   lock.exe aperture-worker hold DIR exclusive|shared...   holds the lock until the next line
//   lock.exe aperture-worker try DIR                        tries for each line, exclusive or shared
#include <stdio.h>
#include <string.h>
#include <windows.h>

static HANDLE open_lock(const char *dir) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s\\.aperture.lock", dir);
  return CreateFileA(path, GENERIC_READ | GENERIC_WRITE,
                     FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_ALWAYS, 0, NULL);
}

static BOOL take(HANDLE file, const char *how, DWORD flags) {
  OVERLAPPED start = {0};
  if (strncmp(how, "shared", 6) != 0) flags |= LOCKFILE_EXCLUSIVE_LOCK;
  return LockFileEx(file, flags, 0, MAXDWORD, MAXDWORD, &start);
}

static void release(HANDLE file) {
  OVERLAPPED start = {0};
  UnlockFileEx(file, 0, MAXDWORD, MAXDWORD, &start);
}

static void say(const char *line) {
  puts(line);
  fflush(stdout);
}

int main(int count, char **args) {
  char line[64];
  if (count == 2) return 0; // --version
  if (count < 4) return 64;
  HANDLE file = open_lock(args[3]);
  if (file == INVALID_HANDLE_VALUE) return 70;
  if (strcmp(args[2], "hold") == 0) {
    for (int i = 4; i < count; i++) {
      if (!take(file, args[i], 0)) return 71;
      say("held");
      if (fgets(line, sizeof line, stdin) == NULL) return 72;
      release(file);
    }
    return 0;
  }
  while (fgets(line, sizeof line, stdin) != NULL) {
    BOOL taken = take(file, line, LOCKFILE_FAIL_IMMEDIATELY);
    if (taken) release(file);
    say(taken ? "free" : "not free");
  }
  return 0;
}
