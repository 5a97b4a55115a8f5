#ifndef OPENMM_RARE_WALKERBONDFORCE_H_
#define OPENMM_RARE_WALKERBONDFORCE_H_

#include "RareExport.h"
#include "openmm/CustomBondForce.h"
#include "openmm/Force.h"
#include <limits>

namespace OpenMMRare {

/**
 * The bonds of one walker, repeated for all walkers: particles w*n to (w+1)*n-1 of the System are walker w.  Energy and forces
 * are those of a CustomBondForce with the bonds of all walkers, but many are computed at a time.  With a cutoff, bonds do not act
 * where they are as long or longer, like the pairs of a force of OpenMM with one.
 */
class OPENMM_EXPORT_RARE WalkerBondForce : public OpenMM::Force {
public:
    /**
     * @param bonds        of one walker, whose particles are counted from 0; it is copied, with its name and force group.  It may
     *                     neither be periodic nor ask for derivatives with respect to parameters.
     * @param numWalkers   must divide the number of particles of the System
     * @param cutoff       in nm; infinite for none
     */
    WalkerBondForce(const OpenMM::CustomBondForce& bonds, int numWalkers, double cutoff=std::numeric_limits<double>::infinity());
    const OpenMM::CustomBondForce& getBonds() const { return bonds; }
    int getNumWalkers() const { return numWalkers; }
    double getCutoff() const { return cutoff; }
    bool usesPeriodicBoundaryConditions() const { return false; }
protected:
    OpenMM::ForceImpl* createImpl() const;
private:
    OpenMM::CustomBondForce bonds;
    int numWalkers;
    double cutoff;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBONDFORCE_H_*/
