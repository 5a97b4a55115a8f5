#ifndef OPENMM_RARE_BONDLISTS_H_
#define OPENMM_RARE_BONDLISTS_H_

#include "WalkerBonds.h"
#include <vector>

namespace OpenMMRare {

/**
 * For each walker the bonds that may be shorter than the cutoff: those that were not longer than cutoff and skin together, when
 * the list was made.  A list is made again as soon as a particle has come further than half of the skin, so none is ever missing
 * (Verlet, Phys. Rev. 159, 98 (1967)).  The skin follows from how fast particles move; forces do not depend on it.
 */
class BondLists {
public:
    /**
     * @param plan   has a cutoff, and must outlive the lists
     */
    BondLists(const WalkerBondPlan& plan, const WalkerBondVariant& variant, int numWalkers);
    /** Whether lists take less time than all bonds of many walkers at a time. */
    static bool areWorthwhile(const WalkerBondPlan& plan);
    /** As WalkerBondVariant::evaluate, for one walker.  Several threads may call it for different walkers. */
    void evaluate(int walker, const double* positions, double* work, double* forces, double* energy);
private:
    struct List {
        /** Positions when the list was made. */
        std::vector<double> places;
        /** Of each bond, and its set of numbers if there are several. */
        std::vector<int> particles, sets;
        double skin;
        /** How many bonds there are; the last is there again until the last part is full. */
        int numBonds;
        /** How often it has been used. */
        int age;
    };
    double farthest(const List& list, const double* positions) const;
    void adaptSkin(List& list) const;
    void make(List& list, const double* positions, double* work) const;
    const WalkerBondPlan& plan;
    const WalkerBondVariant& variant;
    std::vector<List> lists;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_BONDLISTS_H_*/
