#include "BondLists.h"
#include <algorithm>
#include <cmath>

using namespace OpenMMRare;
using namespace std;

static const int FewestBonds = 250;
/** Of the cutoff. */
static const double FirstSkin = 0.1, ThinnestSkin = 0.02, ThickestSkin = 0.5;
/** Time for a bond of a list over that for one that is looked at when a list is made. */
static const double Dearness = 3;

BondLists::BondLists(const WalkerBondPlan& plan, const WalkerBondVariant& variant, int numWalkers) : plan(plan), variant(variant),
        lists(numWalkers) {
    for (auto& list : lists)
        list.skin = FirstSkin*plan.cutoff;
}

bool BondLists::areWorthwhile(const WalkerBondPlan& plan) {
    return isfinite(plan.cutoff) && plan.numBonds >= FewestBonds;
}

void BondLists::evaluate(int walker, const double* positions, double* work, double* forces, double* energy) {
    List& list = lists[walker];
    const double way = list.places.empty() ? INFINITY : farthest(list, positions);
    if (!(way < 0.2499*list.skin*list.skin)) { // nor if it is not a number
        if (way < list.skin*list.skin)
            adaptSkin(list);
        make(list, positions, work);
    }
    list.age++;
    variant.evaluateListed(plan, positions, list.particles.data(), list.sets.data(), list.numBonds, work, forces, energy);
}

/** Squared distance of the particle that has come farthest since the list was made; not a number if a position is none. */
double BondLists::farthest(const List& list, const double* positions) const {
    const double* places = list.places.data();
    double most = 0;
    for (int k = 0; k < 3*plan.numParticles; k += 3) {
        const double dx = positions[k]-places[k], dy = positions[k+1]-places[k+1], dz = positions[k+2]-places[k+2];
        const double square = dx*dx+dy*dy+dz*dz;
        most = most >= square ? most : square;
        if (square != square)
            return square;
    }
    return most;
}

/**
 * A thicker skin makes lists longer but makes them last, about as its square.  The time of both is least where making a list takes
 * as long as a share of its uses, which is the skin over the cutoff (in two dimensions; 1.5 of that in three).  To be called where
 * particles have come there step by step.
 */
void BondLists::adaptSkin(List& list) const {
    const double uses = Dearness*list.numBonds*list.age*list.skin/plan.cutoff;
    const double skin = uses > plan.numBonds ? list.skin/1.1 : list.skin*1.1;
    list.skin = min(max(skin, ThinnestSkin*plan.cutoff), ThickestSkin*plan.cutoff);
}

void BondLists::make(List& list, const double* positions, double* work) const {
    vector<int> bonds(plan.numBonds);
    bonds.resize(variant.listBonds(plan, positions, plan.cutoff+list.skin, work, bonds.data()));
    list.particles.clear();
    list.sets.clear();
    list.numBonds = bonds.size();
    while (bonds.size()%WalkerBondPlan::Lanes != 0)
        bonds.push_back(bonds.back());
    for (int bond : bonds) {
        list.particles.insert(list.particles.end(), {plan.particles[2*bond], plan.particles[2*bond+1]});
        if (plan.numSets > 1)
            list.sets.push_back(plan.sets[bond]);
    }
    list.age = 0;
    list.places.assign(positions, positions+3*plan.numParticles);
}
