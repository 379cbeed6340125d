// echo, for the tests of the command.
#include <stdio.h>

int main(int count, char **args) {
  for (int i = 1; i < count; i++) printf("%s%s", i > 1 ? " " : "", args[i]);
  puts("");
  return 0;
}
