#ifndef OPENMM_RARE_CAPI_H_
#define OPENMM_RARE_CAPI_H_

#include "RareExport.h"
#include "openmm/OpenMMException.h"
#include <exception>
#include <string>
#include <vector>

#define RARE_API extern "C" OPENMM_EXPORT_RARE

namespace OpenMMRare {

/** What the last failed call of the C interface had to say. */
extern thread_local std::string rareLastError;

/** Run a function that may throw: no exception may leave the C interface.  Returns 0, or 1 with the reason in rareLastError. */
template <class Function> int rareGuard(Function function) {
    try {
        function();
        return 0;
    }
    catch (const std::exception& failure) {
        rareLastError = failure.what();
        return 1;
    }
}

/** Copy a vector to memory of the caller. */
template <class T> void rareCopy(const std::vector<T>& values, T* out, int length) {
    if ((int) values.size() != length)
        throw OpenMM::OpenMMException("an array of "+std::to_string(values.size())+" numbers is needed, not "+std::to_string(length));
    for (int i = 0; i < length; i++)
        out[i] = values[i];
}

} // namespace OpenMMRare

#endif /*OPENMM_RARE_CAPI_H_*/
