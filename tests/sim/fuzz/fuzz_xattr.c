/* fuzz_xattr.c - any name and value of an attribute, and any list of names. The name ends at the first
 * NUL. */
#include "fuzz_store.h"
#include "rules/xattr_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = malloc(size + 1);
    UNIT_NEED(name);
    memcpy(name, data, size);
    name[size] = 0;
    size_t len = strlen(name);
    const uint8_t *value = data + MIN_OF(len + 1, size);
    size_t value_size = size - MIN_OF(len + 1, size);
    int r = xa_check_set(name, value, value_size);
    UNIT_NEED(r == 0 || r == -EPERM || r == -EOPNOTSUPP || r == -EINVAL || r == -ERANGE || r == -E2BIG);
    if (!r) /* what may be set may be asked for and removed */
        UNIT_NEED(xa_check_get(name) == 0 && xa_check_remove(name) == 0 && xa_virtual(name) == XA_STORED);
    if (size && !data[size - 1]) { /* a list is names that end in NUL */
        char *list = malloc(size);
        UNIT_NEED(list);
        memcpy(list, data, size);
        size_t all = xa_filter_list(list, size, 1);
        UNIT_NEED(all <= size && (all == 0 || !list[all - 1]));
        UNIT_NEED(xa_filter_list(list, all, 0) <= all);
        free(list);
    }
    free(name);
    return 0;
}
