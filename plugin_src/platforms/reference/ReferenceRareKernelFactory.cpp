#include "RareExport.h"
#include "ReferenceCommittorKernel.h"
#include "ReferenceStepKernel.h"
#include "ReferenceWalkerBondKernel.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

namespace {

class ReferenceRareKernelFactory : public KernelFactory {
public:
    KernelImpl* createKernelImpl(string name, const Platform& platform, ContextImpl& context) const {
        auto& data = *static_cast<ReferencePlatform::PlatformData*>(context.getPlatformData());
        if (name == IntegrateBiasedOverdampedLangevinStepKernel::Name())
            return new ReferenceStepKernel(name, platform, data);
        if (name == CalcCommittorForceKernel::Name())
            return new ReferenceCalcCommittorForceKernel(name, platform, data);
        if (name == CalcWalkerBondForceKernel::Name())
            return new ReferenceCalcWalkerBondForceKernel(name, platform, data);
        throw OpenMMException("Tried to create kernel with illegal kernel name '"+name+"'");
    }
};

} // namespace

extern "C" OPENMM_EXPORT_RARE void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_RARE void registerKernelFactories() {
    for (int i = 0; i < Platform::getNumPlatforms(); i++) {
        Platform& platform = Platform::getPlatform(i);
        if (dynamic_cast<ReferencePlatform*>(&platform) != nullptr) { // the CPU platform derives from it
            auto* factory = new ReferenceRareKernelFactory();
            platform.registerKernelFactory(IntegrateBiasedOverdampedLangevinStepKernel::Name(), factory);
            platform.registerKernelFactory(CalcCommittorForceKernel::Name(), factory);
            platform.registerKernelFactory(CalcWalkerBondForceKernel::Name(), factory);
        }
    }
}
