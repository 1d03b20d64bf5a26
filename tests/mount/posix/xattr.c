/* xattr.c - extended attributes: namespaces, who may, sizes, flags, lists, ACLs. */
#include "posix.h"

#include <limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

static char big[XATTR_SIZE_MAX + 10], got[XATTR_SIZE_MAX + 10];

static void basics(void)
{
    p_file("f", 0644, 1);
    X("xattr.get.missing", getxattr("f", "user.a", got, 10), ENODATA);
    X("xattr.remove.missing", removexattr("f", "user.a"), ENODATA);
    X("xattr.replace.missing", setxattr("f", "user.a", "1", 1, XATTR_REPLACE), ENODATA);
    X("xattr.create", setxattr("f", "user.a", "value", 5, XATTR_CREATE), 0);
    X("xattr.create.exists", setxattr("f", "user.a", "other", 5, XATTR_CREATE), EEXIST);
    X("xattr.replace", setxattr("f", "user.a", "other!", 6, XATTR_REPLACE), 0);
    p_equal("xattr.get.size", getxattr("f", "user.a", NULL, 0), 6);
    p_equal("xattr.get", getxattr("f", "user.a", got, 10), 6);
    p_equal("xattr.get.value", memcmp(got, "other!", 6), 0);
    X("xattr.get.range", getxattr("f", "user.a", got, 5), ERANGE);
    p_equal("xattr.get.exact", getxattr("f", "user.a", got, 6), 6);
    X("xattr.flags", setxattr("f", "user.a", "x", 1, 99), EINVAL);
    X("xattr.flags.both", setxattr("f", "user.b", "x", 1, XATTR_CREATE | XATTR_REPLACE), ENODATA);
    X("xattr.empty", setxattr("f", "user.empty", "", 0, 0), 0);
    p_equal("xattr.empty.get", getxattr("f", "user.empty", got, 10), 0);
    X("xattr.binary", setxattr("f", "user.bin", "\0\1\2\377", 4, 0), 0);
    p_equal("xattr.binary.get", getxattr("f", "user.bin", got, 10), 4);
    p_equal("xattr.binary.value", memcmp(got, "\0\1\2\377", 4), 0);
    p_equal("xattr.list.size", listxattr("f", NULL, 0), 7 + 11 + 9);
    p_equal("xattr.list", listxattr("f", got, sizeof(got)), 27);
    X("xattr.list.range", listxattr("f", got, 26), ERANGE);
    X("xattr.remove", removexattr("f", "user.a"), 0);
    X("xattr.remove.again", removexattr("f", "user.a"), ENODATA);
    X("xattr.remove.empty", removexattr("f", "user.empty"), 0);
    X("xattr.remove.binary", removexattr("f", "user.bin"), 0);
    p_equal("xattr.list.none", listxattr("f", got, sizeof(got)), 0);
    int fd = open("f", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("xattr.fset", fsetxattr(fd, "user.fd", "1", 1, 0), 0);
    p_equal("xattr.fget", fgetxattr(fd, "user.fd", got, 10), 1);
    p_equal("xattr.flist", flistxattr(fd, got, 100), 8);
    X("xattr.fremove", fremovexattr(fd, "user.fd"), 0);
    MUST(close(fd));
}

static void names(void)
{
    char name[300];
    static const struct {
        const char *name;
        int set, get;
    } table[] = {
        {"user.", EINVAL, EINVAL},
        {"user", EOPNOTSUPP, EOPNOTSUPP},
        {"nothing.x", EOPNOTSUPP, EOPNOTSUPP},
        {"x", EOPNOTSUPP, EOPNOTSUPP},
        {"trusted.x", 0, 0},
        {"security.x", 0, 0},
        {"user.with.dots", 0, 0},
        {"user.\xff", 0, 0},
        {"USER.x", EOPNOTSUPP, EOPNOTSUPP},
        {"trusted.", EINVAL, EINVAL},
        {"system.x", EOPNOTSUPP, EOPNOTSUPP},
        {"", ERANGE, ERANGE},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        X(p_id("xattr.name.%zu.set", i), setxattr("f", table[i].name, "1", 1, 0), table[i].set);
        X(p_id("xattr.name.%zu.get", i), getxattr("f", table[i].name, got, 10), table[i].get);
        if (!table[i].set)
            X(p_id("xattr.name.%zu.remove", i), removexattr("f", table[i].name), 0);
    }
    if (access("/sys/fs/selinux", F_OK) == 0) {
        p_skip("xattr.label.none", "the kernel looks at labels");
    } else {
        X("xattr.label.none", getxattr("f", "security.selinux", got, 10), ENODATA);
        X("xattr.label.set", setxattr("f", "security.selinux", "a:b:c", 5, 0), 0);
        X("xattr.label.get", getxattr("f", "security.selinux", got, 10), 0);
        X("xattr.label.remove", removexattr("f", "security.selinux"), 0);
    }
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    name[255] = '\0';
    X("xattr.name.longest", setxattr("f", name, "1", 1, 0), 0);
    X("xattr.name.longest-remove", removexattr("f", name), 0);
    name[255] = 'n';
    name[256] = '\0';
    X("xattr.name.too-long", setxattr("f", name, "1", 1, 0), ERANGE);
    X("xattr.name.too-long-get", getxattr("f", name, got, 1), ERANGE);
}

static void sizes(void)
{
    memset(big, 'v', sizeof(big));
    static const size_t table[] = {1, 63, 64, 65, 255, 256, 1000, 2000, 3000};
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        X(p_id("xattr.size.%zu", table[i]), setxattr("f", "user.s", big, table[i], 0), 0);
        p_equal(p_id("xattr.size.%zu-get", table[i]), getxattr("f", "user.s", got, sizeof(got)),
                (long long)table[i]);
        p_equal(p_id("xattr.size.%zu-same", table[i]), memcmp(got, big, table[i]), 0);
    }
    X("xattr.size.too-large", setxattr("f", "user.s", big, XATTR_SIZE_MAX + 1, 0), E2BIG);
    p_equal("xattr.size.kept", getxattr("f", "user.s", NULL, 0), 3000);
    X("xattr.size.block", setxattr("f", "user.s", big, 5000, 0), ENOSPC);
    X("xattr.size.most", setxattr("f", "user.s", big, XATTR_SIZE_MAX, 0), ENOSPC);
    MUST(removexattr("f", "user.s"));
    int made = 0;
    while (made < 40 && setxattr("f", p_id("user.many%02d", made), "1", 1, 0) == 0)
        made++;
    p_equal("xattr.many", made, 40);
    p_equal("xattr.many.list", listxattr("f", got, sizeof(got)), 40 * 12);
    for (int i = 0; i < made; i++)
        (void)removexattr("f", p_id("user.many%02d", i));
    p_equal("xattr.many.removed", listxattr("f", got, sizeof(got)), 0);
}

static void types(void)
{
    static const struct {
        const char *name;
        int user, trusted;
    } table[] = {
        {"dir", 0, 0}, {"link", EPERM, 0}, {"fifo", EPERM, 0}, {"socket", EPERM, 0}, {"device", EPERM, 0}};
    p_dir("dir", 0755);
    MUST(symlink("nowhere", "link"));
    MUST(mkfifo("fifo", 0644));
    MUST(mknod("socket", S_IFSOCK | 0644, 0));
    MUST(mknod("device", S_IFCHR | 0644, 1 << 8 | 3));
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        X(p_id("xattr.%s.user", table[i].name), lsetxattr(table[i].name, "user.x", "1", 1, 0), table[i].user);
        X(p_id("xattr.%s.trusted", table[i].name), lsetxattr(table[i].name, "trusted.x", "1", 1, 0),
          table[i].trusted);
        p_equal(p_id("xattr.%s.get", table[i].name), lgetxattr(table[i].name, "trusted.x", got, 10), 1);
    }
    MUST(link("f", "hard"));
    MUST(setxattr("f", "user.shared", "1", 1, 0));
    p_equal("xattr.hard-link", getxattr("hard", "user.shared", got, 10), 1);
    MUST(rename("hard", "renamed"));
    p_equal("xattr.renamed", getxattr("renamed", "user.shared", got, 10), 1);
}

/* What is in the file system for alice: trusted.* is not there, security.* is read only. */
static void as_stranger(void)
{
    X("xattr.user.trusted-set", setxattr("open", "trusted.y", "1", 1, 0), EPERM);
    X("xattr.user.trusted-get", getxattr("open", "trusted.x", got, 10), ENODATA);
    X("xattr.user.trusted-remove", removexattr("open", "trusted.x"), EPERM);
    X("xattr.user.security-set", setxattr("open", "security.y", "1", 1, 0), EPERM);
    X("xattr.user.security-get", getxattr("open", "security.x", got, 10), 0);
    X("xattr.user.noright", setxattr("f", "user.x", "1", 1, 0), EACCES);
    X("xattr.user.secret", getxattr("secret", "user.x", got, 10), EACCES);
    X("xattr.user.secret-list", listxattr("secret", got, 100), 0);
    X("xattr.user.sticky", setxattr("sticky", "user.x", "1", 1, 0), EPERM);
    X("xattr.user.open", setxattr("open", "user.x", "1", 1, 0), 0);
    ssize_t n = listxattr("open", got, sizeof(got));
    bool trusted = false;
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(got + at) + 1)
        trusted = trusted || strncmp(got + at, "trusted.", 8) == 0;
    p_true("xattr.user.list-trusted", n > 0 && !trusted);
}

/* ACLs as getfacl and setfacl set them: u::rw-, u:5001:rwx, g::r--, m::rwx, o::--- */
static void acls(void)
{
    struct {
        struct posix_acl_xattr_header head;
        struct posix_acl_xattr_entry entry[5];
    } acl = {{POSIX_ACL_XATTR_VERSION},
             {{ACL_USER_OBJ, 6, (uint32_t)ACL_UNDEFINED_ID},
              {ACL_USER, 7, 5001},
              {ACL_GROUP_OBJ, 4, (uint32_t)ACL_UNDEFINED_ID},
              {ACL_MASK, 7, (uint32_t)ACL_UNDEFINED_ID},
              {ACL_OTHER, 0, (uint32_t)ACL_UNDEFINED_ID}}};
    p_file("acl", 0640, 1);
    p_dir("acldir", 0755);
    X("xattr.acl.none", getxattr("acl", "system.posix_acl_access", got, sizeof(got)), ENODATA);
    X("xattr.acl.set", setxattr("acl", "system.posix_acl_access", &acl, sizeof(acl), 0), 0);
    X("xattr.acl.get", getxattr("acl", "system.posix_acl_access", got, sizeof(got)), 0);
    p_equal("xattr.acl.mode", p_stat("acl").st_mode & 0777, 0670);
    X("xattr.acl.default", setxattr("acldir", "system.posix_acl_default", &acl, sizeof(acl), 0), 0);
}

static void privileges(void)
{
    static const unsigned char cap[20] = {0, 0, 0, 2, 0, 4}; /* cap_net_bind... of revision 2 */
    p_file("capable", 0755, 1);
    X("xattr.capability.set", setxattr("capable", "security.capability", cap, sizeof(cap), 0), 0);
    int fd = open("capable", O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "x", 1));
    MUST(close(fd));
    X("xattr.capability.after-write", getxattr("capable", "security.capability", got, sizeof(got)), ENODATA);
    MUST(setxattr("capable", "security.capability", cap, sizeof(cap), 0));
    MUST(chown("capable", 1, 1));
    X("xattr.capability.after-chown", getxattr("capable", "security.capability", got, sizeof(got)), ENODATA);
    X("xattr.capability.invalid", setxattr("capable", "security.capability", "x", 1, 0), EINVAL);
}

void xattr_run(void)
{
    basics();
    names();
    sizes();
    types();
    p_file("open", 0666, 1);
    MUST(setxattr("open", "trusted.x", "1", 1, 0));
    MUST(setxattr("open", "security.x", "1", 1, 0));
    p_file("secret", 0600, 1);
    p_dir("sticky", 01777);
    p_as(&alice, as_stranger);
    acls();
    privileges();
}
