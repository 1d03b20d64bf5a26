/* seeds.c - writes what each fuzz target starts from, as the real encoders make it:  seeds FOLDER */
#include "control/verbs.h"
#include "fuzz_store.h"

static const char *folder;

static void put(const char *target, unsigned number, const void *data, size_t size)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, target);
    (void)mkdir(path, 0777);
    (void)snprintf(path, sizeof path, "%s/%s/seed%u", folder, target, number);
    FILE *f = fopen(path, "w");
    UNIT_NEED(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static void put_ops(const uint8_t *log, size_t size)
{
    struct batch_header h;
    unsigned n = 0;
    for (uint64_t at = sizeof(struct segment_header); at + sizeof h <= size && n < 50;
         at += sizeof h + h.ops_len + h.extents_len) {
        memcpy(&h, log + at, sizeof h);
        put("batch", n++, log + at + sizeof h, h.ops_len);
        uint8_t edit[5] = {(uint8_t)(at + sizeof h), (uint8_t)((at + sizeof h) >> 8), 0, 0, 1};
        put("recover", n, edit, sizeof edit);
    }
}

static void put_text(const char *target, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(target, (unsigned)i, texts[i], strlen(texts[i]));
}

/* The checkpoint of a store of some size; and scripts of fuzz_edits.c: nothing altered, each image, chunks of
 * no bytes claimed, something written over. */
static void put_large(void)
{
    char name[64];
    uint8_t *data;
    size_t size;
    struct unit c;
    unit_clone(&c, fuzz_store_large(true));
    UNIT_NEED(unit_files(&c, ".ckp", name) == 1 && simdisk_get(c.disk, name, &data, &size) == 0);
    put("checkpoint", 1, data, size);
    free(data);
    unit_done(&c);
    for (uint8_t i = 0; i < 4; i++) {
        uint8_t script[][12] = {{i}, {i, 1, 0, 0, 16, 0, 0}, {i, 0, 200, 1, 0, 0, 3, 1, 2, 3, 4}};
        put("edits", 3u * i, script[0], 1);
        put("edits", 3u * i + 1, script[1], 7);
        put("edits", 3u * i + 2, script[2], 11);
    }
}

int main(int argc, char **argv)
{
    static const char *const lines[] = {
        "{\"id\": \"a/b\", \"content\": \"text\", \"confidence\": 0.5, \"embedding\": [1, -2.5e3]}",
        "{\"id\": \"..\", \"content\": null, \"created_at\": \"2023-05-08T13:56:00Z\", \"speaker\": \"Ada\"}",
        "{\"id_base64\": \"/w==\", \"content_base64\": \"AAEC\", \"xattrs_base64\": {\"user.x\": \"/w==\"}}",
        "{\"id\": \"\\ud83d\\ude00\", \"content\": \"\\u0000\", \"recall_count\": 7, \"n\": {\"a\": "
        "[true]}}"};
    static const char *const xattrs[] = {
        "user.engram.confidence",  "user.engram.embedding", "trusted.x", "user.x",
        "system.posix_acl_access", "security.capability"};
    char name[64], verb[128];
    uint8_t *data;
    size_t size;
    if (argc != 2)
        return 2;
    folder = argv[1];
    (void)mkdir(folder, 0777);
    const struct unit *died = fuzz_store(false), *closed = fuzz_store(true);
    UNIT_NEED(simdisk_get(died->disk, FUZZ_LOG, &data, &size) == 0);
    put("segment", 0, data, size);
    put_ops(data, size);
    free(data);
    struct unit c;
    unit_clone(&c, closed);
    UNIT_NEED(unit_files(&c, ".ckp", name) == 1 && simdisk_get(c.disk, name, &data, &size) == 0);
    put("checkpoint", 0, data, size);
    free(data);
    UNIT_NEED(simdisk_get(c.disk, "superblock", &data, &size) == 0);
    put("superblock", 0, data, 128);
    free(data);
    unit_done(&c);
    put_large();
    put_text("jsonl", lines, ARRAY_LEN(lines));
    for (unsigned i = 0; i < ARRAY_LEN(xattrs); i++) {
        (void)snprintf(verb, sizeof verb, "%s%c0.5", xattrs[i], 0);
        put("xattr", i, verb, strlen(xattrs[i]) + 4);
    }
    static const char *const verbs[] = {"run", "start\n", "rate=10M\n", "# x\n\nestimate\n", "auto_compact=1",
                                        "hold"};
    for (unsigned file = 0; file < CTL_FILES; file++)
        for (unsigned v = 0; v < ARRAY_LEN(verbs); v++) {
            verb[0] = (char)file;
            (void)snprintf(verb + 1, sizeof verb - 1, "%s", verbs[v]);
            put("verbs", file * 10 + v, verb, strlen(verbs[v]) + 1);
        }
    return 0;
}
