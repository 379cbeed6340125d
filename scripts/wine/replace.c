// Replaces a file that is open, without the library, for tests/platform/windows_test.ts:
//   replace.exe DIR
// For each share mode that allows deletion, prints the error codes of three attempts to rename
// another file over a file in DIR: with POSIX semantics while the file is open, with MoveFileEx
// while it is open, and with MoveFileEx once it is closed. On Windows, the first attempt succeeds.
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

static DWORD rename_posix(const wchar_t *from, const wchar_t *to) {
  struct {
    DWORD flags;
    HANDLE root;
    DWORD length;
    WCHAR name[MAX_PATH];
  } info = {REPLACE_IF_EXISTS | POSIX_SEMANTICS, NULL, wcslen(to) * sizeof *to};
  HANDLE file = open_file(from, DELETE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, OPEN_EXISTING);
  DWORD code = 0;
  wcscpy(info.name, to);
  if (!SetFileInformationByHandle(file, RENAME_INFO_EX, &info, sizeof info)) code = GetLastError();
  CloseHandle(file);
  return code;
}

static DWORD move(const wchar_t *from, const wchar_t *to) {
  return MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING) ? 0 : GetLastError();
}

int main(int count, char **args) {
  wchar_t from[MAX_PATH], to[MAX_PATH];
  const wchar_t *files[] = {from, to};
  if (count < 2) return 64;
  swprintf(from, MAX_PATH, L"%hs\\new", args[1]);
  swprintf(to, MAX_PATH, L"%hs\\old", args[1]);
  for (DWORD share = 0; share < 8; share++) {
    if (!(share & FILE_SHARE_DELETE)) continue;
    for (int i = 0; i < 2; i++) CloseHandle(open_file(files[i], GENERIC_WRITE, 0, CREATE_ALWAYS));
    HANDLE reader = open_file(to, GENERIC_READ, share, OPEN_EXISTING);
    if (reader == INVALID_HANDLE_VALUE) return 70;
    DWORD posix = rename_posix(from, to), plain = move(from, to);
    CloseHandle(reader);
    printf("%lu: %lu, %lu, %lu\n", share, posix, plain, move(from, to));
  }
  return 0;
}
