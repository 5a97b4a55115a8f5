#ifndef OPENMM_RARE_REGIONS_H_
#define OPENMM_RARE_REGIONS_H_

#include <vector>

namespace OpenMMRare {

/**
 * A collective variable of one walker.  Particles are counted within the walker, lengths are in nm, angles in radians.
 */
struct Variable {
    enum Kind : int { Coordinate = 0, Distance = 1, Angle = 2, Dihedral = 3, CoordinationMoment = 4, LinearCombination = 5 };
    Kind kind;
    /** Coordinate: the particle and the axis.  Distance, Angle, Dihedral: 2, 3 or 4 particles.  CoordinationMoment: the order, 1 to 3. */
    std::vector<int> indices;
    /**
     * CoordinationMoment: the radius.  LinearCombination: three coefficients for every particle.  Distance, Angle, Dihedral, and
     * CoordinationMoment after its radius: nothing, or the periodic box whose nearest images count, as ax, bx, by, cx, cy, cz.
     */
    std::vector<double> values;
    /** Where the periodic box begins in the values, or -1 for a kind that knows none. */
    int boxPlace() const {
        return kind == CoordinationMoment ? 1 : (kind == Distance || kind == Angle || kind == Dihedral ? 0 : -1);
    }
    /** The periodic box, or a null pointer without. */
    const double* box() const {
        return boxPlace() >= 0 && (int) values.size() > boxPlace() ? &values[boxPlace()] : nullptr;
    }
    static constexpr int BoxLength = 6;
    /** The period, or 0. */
    double period;
};

/**
 * A set of configurations: those that lie inside all ranges and all discs.
 */
struct Region {
    struct Range { int variable; double lower, upper; };
    struct Disc { std::vector<int> variables; std::vector<double> center; double radius; };
    std::vector<Range> ranges;
    std::vector<Disc> discs;
};

/**
 * Evaluates variables and regions on the host, for kernels without code of their own for this: several walkers at a time, the
 * walker being the last index of all arrays.
 */
class RegionTest {
public:
    static constexpr int Lanes = 8;
    RegionTest() : numParticles(0), numbersOf(nullptr) {}
    RegionTest(const std::vector<Variable>& variables, const std::vector<Region>& regions, int numParticles);
    /**
     * Compute all variables, and look for the walkers in all regions.
     *
     * @param positions   [3*numParticles][Lanes]: x, y and z of each particle
     */
    void evaluate(const double* positions);
    /** Whether one of the walkers that were evaluated last lies inside a region. */
    bool contains(int region, int lane) const { return inside[region*Lanes+lane]; }
    /** Whether there is nothing to test. */
    bool isEmpty() const { return regions.empty(); }
private:
    void testRegions();
    void testDisc(const Region::Disc& disc, char* inside) const;
    void coordinationMoment(const Variable& variable, const double* positions, double* result);
    std::vector<Variable> variables;
    std::vector<Region> regions;
    int numParticles;
    /** Radius and box of the coordination numbers that are there. */
    const std::vector<double>* numbersOf;
    std::vector<double> values, numbers;
    /** By region. */
    std::vector<char> inside;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_REGIONS_H_*/
