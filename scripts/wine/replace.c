// Replaces a file that is open, without the library, for tests/platform/windows_test.ts:
//   replace.exe DIR
// For each share mode that allows deletion, opens a file in DIR, renames another file over it with
// POSIX semantics, and prints the error code. On Windows, it is 0: with these semantics, existing
// handles do not prevent the rename.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#define RENAME_INFO_EX ((FILE_INFO_BY_HANDLE_CLASS)22)
#define REPLACE_IF_EXISTS 1
#define POSIX_SEMANTICS 2

static HANDLE open_file(const wchar_t *path, DWORD access, DWORD share, DWORD how) {
  return CreateFileW(path, access, share, NULL, how, 0, NULL);
}

static DWORD replace(HANDLE from, const wchar_t *to) {
  struct {
    DWORD flags;
    HANDLE root;
    DWORD length;
    WCHAR name[MAX_PATH];
  } info = {REPLACE_IF_EXISTS | POSIX_SEMANTICS, NULL, wcslen(to) * sizeof *to};
  wcscpy(info.name, to);
  return SetFileInformationByHandle(from, RENAME_INFO_EX, &info, sizeof info) ? 0 : GetLastError();
}

int main(int count, char **args) {
  wchar_t old[MAX_PATH], new[MAX_PATH];
  const DWORD all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  if (count < 2) return 64;
  swprintf(old, MAX_PATH, L"%hs\\old", args[1]);
  swprintf(new, MAX_PATH, L"%hs\\new", args[1]);
  for (DWORD share = 0; share <= all; share++) {
    if (!(share & FILE_SHARE_DELETE)) continue;
    CloseHandle(open_file(old, GENERIC_WRITE, all, CREATE_ALWAYS));
    HANDLE from = open_file(new, GENERIC_WRITE | DELETE, all, CREATE_ALWAYS);
    HANDLE reader = open_file(old, GENERIC_READ, share, OPEN_EXISTING);
    if (from == INVALID_HANDLE_VALUE || reader == INVALID_HANDLE_VALUE) return 70;
    DWORD held = replace(from, old);
    CloseHandle(reader);
    // The same call must succeed once the reader has closed the file.
    DWORD closed = held == 0 ? 0 : replace(from, old);
    CloseHandle(from);
    printf("%lu: %lu, then %lu\n", share, held, closed);
  }
  return 0;
}
