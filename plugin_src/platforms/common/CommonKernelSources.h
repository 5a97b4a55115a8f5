#ifndef OPENMM_RARE_COMMONKERNELSOURCES_H_
#define OPENMM_RARE_COMMONKERNELSOURCES_H_

#include <string>

namespace OpenMMRare {

/** The files in kernels/, in the language that OpenCL, CUDA and HIP share by OpenMM's definitions. */
struct CommonKernelSources {
    static const std::string positions, walkers, regions, committorFeatures, committorNetwork;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMONKERNELSOURCES_H_*/
