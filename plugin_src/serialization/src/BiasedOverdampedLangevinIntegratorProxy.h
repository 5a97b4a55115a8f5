#ifndef OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATORPROXY_H_
#define OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATORPROXY_H_

#include "RareExport.h"
#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMRare {

/** XML of a BiasedOverdampedLangevinIntegrator. */
class OPENMM_EXPORT_RARE BiasedOverdampedLangevinIntegratorProxy : public OpenMM::SerializationProxy {
public:
    BiasedOverdampedLangevinIntegratorProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const;
    void* deserialize(const OpenMM::SerializationNode& node) const;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATORPROXY_H_*/
