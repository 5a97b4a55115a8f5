#include "InstructionSets.h"
#include "openmm/OpenMMException.h"
#include <cstdlib>
#include <string>
#include <vector>

using namespace OpenMM;
using namespace std;

/** The names of those that this machine runs, the slowest first. */
static vector<string> findInstructionSets() {
    vector<string> names = {"baseline"};
#ifdef RARE_HAVE_X86_VARIANTS
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return names;
    names.push_back("avx2");
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512bw"))
        names.push_back("avx512");
#endif
    return names;
}

int OpenMMRare::getInstructionSet() {
    const vector<string> names = findInstructionSets();
    const char* wanted = getenv("OPENMM_RARE_SIMD");
    if (wanted == nullptr || string(wanted).empty())
        return names.size()-1;
    string known;
    for (size_t i = 0; i < names.size(); i++) {
        if (names[i] == wanted)
            return i;
        known = " "+names[i]+known;
    }
    throw OpenMMException("the environment variable OPENMM_RARE_SIMD is "+string(wanted)+"; this machine runs:"+known);
}
