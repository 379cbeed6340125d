// Types Ctrl-C for tests/platform/console_test.ts:
//   console.exe COMMAND ARG...
// runs the command in its own console, sends Ctrl-C to the console once the command has printed a
// line that contains "ready", and prints the rest of the output and the exit code.
#include <stdio.h>
#include <string.h>
#include <windows.h>

// Quotes an argument for CreateProcess; the tests' arguments have no backslash before a quote.
static void append(char *line, const char *arg) {
  char *to = line + strlen(line);
  if (to != line) *to++ = ' ';
  *to++ = '"';
  for (; *arg != 0; *to++ = *arg++)
    if (*arg == '"') *to++ = '\\';
  *to++ = '"';
  *to = 0;
}

static DWORD start(char **args, const char *first, DWORD flags, HANDLE output, HANDLE *process) {
  static char line[32768];
  STARTUPINFOA info = {.cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES};
  PROCESS_INFORMATION started;
  line[0] = 0;
  if (first != NULL) {
    append(line, first);
    append(line, "--inner");
  }
  for (; *args != NULL; args++) append(line, *args);
  info.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
  info.hStdOutput = info.hStdError = output;
  if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, flags, NULL, NULL, &info, &started)) return GetLastError();
  *process = started.hProcess;
  return 0;
}

static int inner(char **args) {
  SECURITY_ATTRIBUTES inherit = {sizeof inherit, NULL, TRUE};
  HANDLE from, to, process;
  char text[65536] = "";
  DWORD used = 0, read, code;
  BOOL typed = FALSE;
  CreatePipe(&from, &to, &inherit, 0);
  SetHandleInformation(from, HANDLE_FLAG_INHERIT, 0);
  if ((code = start(args, NULL, 0, to, &process)) != 0) return code;
  CloseHandle(to);
  while (used < sizeof text - 1 && ReadFile(from, text + used, sizeof text - 1 - used, &read, NULL) && read > 0) {
    used += read;
    text[used] = 0;
    if (typed || strstr(text, "ready") == NULL) continue;
    typed = TRUE;
    SetConsoleCtrlHandler(NULL, TRUE); // This process ignores it.
    GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
  }
  WaitForSingleObject(process, INFINITE);
  GetExitCodeProcess(process, &code);
  printf("%sexit %lu\n", text, code);
  return 0;
}

int main(int count, char **args) {
  HANDLE process;
  DWORD code;
  if (count > 1 && strcmp(args[1], "--inner") == 0) return inner(args + 2);
  if ((code = start(args + 1, args[0], CREATE_NO_WINDOW, GetStdHandle(STD_OUTPUT_HANDLE), &process)) != 0) return code;
  WaitForSingleObject(process, INFINITE);
  return GetExitCodeProcess(process, &code) ? code : 70;
}
