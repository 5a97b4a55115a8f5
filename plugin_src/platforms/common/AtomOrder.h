#ifndef OPENMM_RARE_ATOMORDER_H_
#define OPENMM_RARE_ATOMORDER_H_

#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"

namespace OpenMMRare {

/**
 * Where each particle is found in the arrays of a ComputeContext, which moves particles for the sake of speed.  Particles that
 * it cannot tell apart change places even between walkers.
 */
class AtomOrder {
public:
    AtomOrder() : cc(nullptr) {}
    AtomOrder(const AtomOrder&) = delete;
    AtomOrder& operator=(const AtomOrder&) = delete;
    /** Follow the particles of a context from now on; this object must live as long as they move. */
    void initialize(OpenMM::ComputeContext& context);
    /** On the device: the place of every particle. */
    OpenMM::ArrayInterface& getPlaces() { return places; }
private:
    class Listener;
    void update();
    OpenMM::ComputeContext* cc;
    OpenMM::ComputeArray places;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_ATOMORDER_H_*/
