// echo, for the command's tests.
#include <stdio.h>

int main(int count, char **args) {
  for (int i = 1; i < count; i++) printf("%s%s", i > 1 ? " " : "", args[i]);
  puts("");
  return 0;
}
