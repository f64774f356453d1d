/* What is told to the tests: a line for a call that they may ask about. */
#include <stdio.h>
#include <stdlib.h>

static void say(const char *what, long number)
{
    const char *name = getenv("PRETENDED_LOG");
    FILE *log = name ? fopen(name, "a") : NULL;
    if (log) {
        fprintf(log, "%s %ld\n", what, number);
        fclose(log);
    }
}
