#ifndef OPENMM_RARE_COMMITTORFORCEPROXY_H_
#define OPENMM_RARE_COMMITTORFORCEPROXY_H_

#include "RareExport.h"
#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMRare {

/** XML of a CommittorForce.  Arrays are strings of numbers with spaces between them. */
class OPENMM_EXPORT_RARE CommittorForceProxy : public OpenMM::SerializationProxy {
public:
    CommittorForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const;
    void* deserialize(const OpenMM::SerializationNode& node) const;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMITTORFORCEPROXY_H_*/
