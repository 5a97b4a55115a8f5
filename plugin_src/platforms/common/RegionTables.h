#ifndef OPENMM_RARE_REGIONTABLES_H_
#define OPENMM_RARE_REGIONTABLES_H_

#include "BiasedOverdampedLangevinIntegrator.h"
#include <vector>

namespace OpenMMRare {

/**
 * The variables, regions and label rules of an integrator as the arrays that kernels/regions.cc reads.  No array is empty.
 *
 * A variable takes 6 of the `variables`: its kind, up to 4 indices, and where its numbers begin, which are its period (or 0)
 * and its values, with zeros for a box where one could be.  `regions` begins with the place of every region in it, those of the label rules last.  There a region has its
 * number of ranges and of discs; for each range the variable and the place of its two bounds; for each disc the number of its
 * variables, the place of the squared radius and the center, and the variables.  A label rule takes 2 of the `rules`: from, to.
 */
struct RegionTables {
    /** @param numParticles   of one walker, to which everything must fit */
    RegionTables(const BiasedOverdampedLangevinIntegrator& integrator, int numParticles);
    int numVariables, numAbsorbing, numRules;
    /** allNearestImages: whether all variables are made of nearest images, which moving particles by periods of the box does not change */
    bool hasMoments, allNearestImages;
    std::vector<int> variables, regions, rules;
    std::vector<double> numbers;
private:
    void addVariable(const Variable& variable);
    void addRegion(const Region& region);
    /** Returns the place of a number. */
    int addNumber(double value);
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_REGIONTABLES_H_*/
