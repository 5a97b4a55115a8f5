#ifndef OPENMM_RARE_WALKERBONDFORCEPROXY_H_
#define OPENMM_RARE_WALKERBONDFORCEPROXY_H_

#include "RareExport.h"
#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMRare {

/** XML of a WalkerBondForce, which holds that of its bonds. */
class OPENMM_EXPORT_RARE WalkerBondForceProxy : public OpenMM::SerializationProxy {
public:
    WalkerBondForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const;
    void* deserialize(const OpenMM::SerializationNode& node) const;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBONDFORCEPROXY_H_*/
