/* fuzz_verbs.c - any bytes written to any control file: the first byte says which. */
#include "control/verbs.h"
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ctl_command commands[CTL_COMMANDS_MAX];
    size_t n = SIZE_MAX;
    if (!size)
        return 0;
    enum ctl_file file = (enum ctl_file)(data[0] % CTL_FILES);
    int r = ctl_parse(file, (const char *)data + 1, size - 1, commands, &n);
    UNIT_NEED(r == 0 || r == -EINVAL || r == -E2BIG);
    UNIT_NEED(r != 0 ? n == SIZE_MAX : n <= CTL_COMMANDS_MAX); /* comments alone: none */
    for (size_t i = 0; r == 0 && i < n; i++) {
        UNIT_NEED(commands[i].verb->file == file);
        UNIT_NEED(!commands[i].verb->waits || i + 1 == n); /* a verb that waits is the last */
        UNIT_NEED(strnlen(commands[i].key, CTL_KEY_MAX) < CTL_KEY_MAX &&
                  strnlen(commands[i].value, CTL_VALUE_MAX) < CTL_VALUE_MAX);
    }
    return 0;
}
