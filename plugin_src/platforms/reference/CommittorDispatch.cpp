#include "CommittorNetwork.h"
#include "openmm/OpenMMException.h"
#include <cstdlib>
#include <string>
#include <vector>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

/** The variants that this machine runs, the fastest first. */
static vector<const CommittorVariant*> findVariants() {
    vector<const CommittorVariant*> variants;
#ifdef RARE_HAVE_X86_VARIANTS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
        variants.push_back(&committorVariant_avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        variants.push_back(&committorVariant_avx2);
#endif
    variants.push_back(&committorVariant_baseline);
    return variants;
}

const CommittorVariant& OpenMMRare::getCommittorVariant() {
    vector<const CommittorVariant*> variants = findVariants();
    const char* wanted = getenv("OPENMM_RARE_SIMD");
    if (wanted == nullptr || string(wanted).empty())
        return *variants[0];
    string names;
    for (auto variant : variants) {
        if (string(wanted) == variant->name)
            return *variant;
        names += string(" ")+variant->name;
    }
    throw OpenMMException("the environment variable OPENMM_RARE_SIMD is "+string(wanted)+"; this machine runs:"+names);
}
