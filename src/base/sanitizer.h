/* WITH_SANITIZER: built with AddressSanitizer, whose search for leaks needs calls (and /proc) that
 * the programs otherwise do without. gcc defines a macro, clang a feature. */
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_SANITIZER
#endif
#endif
