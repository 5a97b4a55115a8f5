// Registers the Common kernels with the platform RARE_PLATFORM: OpenCL, CUDA or HIP.  Neither its headers nor its toolkit are
// needed: of the data that it keeps for a Context only the list of ComputeContexts is used, and all three begin alike.
#include "CommonCommittorKernel.h"
#include "CommonStepKernel.h"
#include "RareExport.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

namespace {

/** How the PlatformData of these platforms begin. */
struct PlatformDataPrefix {
    ContextImpl* context;
    vector<ComputeContext*> contexts;
};

class GpuRareKernelFactory : public KernelFactory {
public:
    KernelImpl* createKernelImpl(string name, const Platform& platform, ContextImpl& context) const {
        auto& data = *static_cast<PlatformDataPrefix*>(context.getPlatformData());
        if (data.context != &context || data.contexts.empty() || data.contexts[0]->getContextImpl() != &context)
            throw OpenMMException("openmm_rare does not know this version of OpenMM's platform " RARE_PLATFORM);
        ComputeContext& cc = *data.contexts[0];
        if (name == IntegrateBiasedOverdampedLangevinStepKernel::Name())
            return new CommonStepKernel(name, platform, cc);
        if (name == CalcCommittorForceKernel::Name())
            return new CommonCalcCommittorForceKernel(name, platform, cc);
        throw OpenMMException("Tried to create kernel with illegal kernel name '"+name+"'");
    }
};

} // namespace

extern "C" OPENMM_EXPORT_RARE void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_RARE void registerKernelFactories() {
    for (int i = 0; i < Platform::getNumPlatforms(); i++) {
        Platform& platform = Platform::getPlatform(i);
        if (platform.getName() == RARE_PLATFORM) {
            auto* factory = new GpuRareKernelFactory();
            platform.registerKernelFactory(IntegrateBiasedOverdampedLangevinStepKernel::Name(), factory);
            platform.registerKernelFactory(CalcCommittorForceKernel::Name(), factory);
        }
    }
}
