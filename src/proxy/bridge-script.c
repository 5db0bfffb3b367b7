/* Theory of operation: the script is a file, bridge.js, which the assembler puts into the program:
 * nothing is left to open once it is confined. */
#include "proxy/bridge.h"

__asm__(".pushsection .rodata\n"
        ".global bridge_js\nbridge_js:\n"
        ".incbin \"" BRIDGE_DIR "/bridge.js\"\n"
        ".global bridge_js_end\nbridge_js_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const char bridge_js[] __attribute__((visibility("hidden")));
extern const char bridge_js_end[] __attribute__((visibility("hidden")));

struct text bridge_script(void)
{
    return (struct text){bridge_js, (size_t)(bridge_js_end - bridge_js)};
}

/* FNV-1a, at the first need; two threads that meet here find the same. */
uint32_t bridge_version(void)
{
    static _Atomic uint32_t version;
    struct text script = bridge_script();
    uint32_t hash = 2166136261u;

    if (version)
        return version;
    for (size_t i = 0; i < script.length; i++)
        hash = (hash ^ (unsigned char)script.data[i]) * 16777619u;
    version = hash;
    return hash;
}
