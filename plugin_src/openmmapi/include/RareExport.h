#ifndef OPENMM_RARE_EXPORT_H_
#define OPENMM_RARE_EXPORT_H_

#if defined(_MSC_VER)
    #if defined(RARE_BUILDING_SHARED_LIBRARY)
        #define OPENMM_EXPORT_RARE __declspec(dllexport)
    #else
        #define OPENMM_EXPORT_RARE __declspec(dllimport)
    #endif
#else
    #define OPENMM_EXPORT_RARE __attribute__((visibility("default")))
#endif

/** Compiles a function for several generations of processors; the one that fits is chosen when the library is loaded. */
#if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__)
    #define RARE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
    #define RARE_CLONES
#endif

#endif /*OPENMM_RARE_EXPORT_H_*/
