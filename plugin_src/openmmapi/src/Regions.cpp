#include "Regions.h"
#include "RareExport.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cmath>
#include <string>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException(complaint);
}

static void checkVariable(const Variable& variable, int numParticles) {
    check(isfinite(variable.period) && variable.period >= 0, "the period of a variable must be positive, or 0 for none");
    size_t length = variable.indices.size();
    switch (variable.kind) {
        case Variable::Coordinate:
            check(length == 2 && variable.indices[1] >= 0 && variable.indices[1] < 3, "a coordinate needs a particle and an axis, 0 to 2");
            break;
        case Variable::Distance:
        case Variable::Angle:
        case Variable::Dihedral:
            check((int) length == variable.kind+1, "a distance needs 2 particles, an angle 3, a dihedral 4");
            break;
        case Variable::CoordinationMoment:
            check(length == 1 && variable.indices[0] >= 1 && variable.indices[0] <= 3, "a coordination moment needs an order, 1 to 3");
            check(variable.values.size() == 1 && variable.values[0] > 0, "a coordination moment needs a positive radius");
            return;
        case Variable::LinearCombination:
            check((int) variable.values.size() == 3*numParticles, "a linear combination needs three coefficients for every particle");
            return;
        default:
            check(false, "this kind of variable does not exist");
    }
    for (size_t i = 0; i < length; i++)
        if (variable.kind != Variable::Coordinate || i == 0)
            check(variable.indices[i] >= 0 && variable.indices[i] < numParticles,
                  "a variable refers to particle "+to_string(variable.indices[i])+"; a walker has "+to_string(numParticles));
}

RegionTest::RegionTest(const vector<Variable>& variables, const vector<Region>& regions, int numParticles) :
        variables(variables), regions(regions), numParticles(numParticles), numbersRadius(0),
        values(variables.size()*Lanes), numbers(numParticles*Lanes), inside(regions.size()*Lanes) {
    for (auto& variable : variables)
        checkVariable(variable, numParticles);
    auto known = [&](int index) { return index >= 0 && index < (int) variables.size(); };
    for (auto& region : regions) {
        check(!region.ranges.empty() || !region.discs.empty(), "a region needs at least one range or disc");
        for (auto& range : region.ranges) {
            check(known(range.variable), "a range refers to a variable that does not exist");
            check(!isnan(range.lower) && !isnan(range.upper), "the bounds of a range must be numbers, not NaN");
        }
        for (auto& disc : region.discs) {
            check(!disc.variables.empty() && disc.variables.size() == disc.center.size(), "a disc needs a center for each of its variables");
            check(disc.radius > 0, "a disc needs a positive radius");
            check(all_of(disc.center.begin(), disc.center.end(), [](double value) { return isfinite(value); }),
                  "the center of a disc must be finite");
            for (int index : disc.variables)
                check(known(index), "a disc refers to a variable that does not exist");
        }
    }
}

namespace {

struct Vector {
    double x, y, z;
    double dot(const Vector& other) const {
        return x*other.x+y*other.y+z*other.z;
    }
    Vector cross(const Vector& other) const {
        return {y*other.z-z*other.y, z*other.x-x*other.z, x*other.y-y*other.x};
    }
};

const int Lanes = RegionTest::Lanes;

/** The vector from particle i to particle j of one walker. */
Vector between(const double* positions, int lane, int i, int j) {
    const double *from = positions+3*i*Lanes+lane, *to = positions+3*j*Lanes+lane;
    return {to[0]-from[0], to[Lanes]-from[Lanes], to[2*Lanes]-from[2*Lanes]};
}

double angle(const double* positions, int lane, const vector<int>& atoms) {
    Vector a = between(positions, lane, atoms[1], atoms[0]), b = between(positions, lane, atoms[1], atoms[2]), normal = a.cross(b);
    return atan2(sqrt(normal.dot(normal)), a.dot(b));
}

double dihedral(const double* positions, int lane, const vector<int>& atoms) {
    Vector b1 = between(positions, lane, atoms[0], atoms[1]), b2 = between(positions, lane, atoms[1], atoms[2]);
    Vector b3 = between(positions, lane, atoms[2], atoms[3]), n1 = b1.cross(b2), n2 = b2.cross(b3);
    return atan2(sqrt(b2.dot(b2))*b1.dot(n2), n1.dot(n2));
}

/** Smooth coordination numbers [n][Lanes], sum_j 1/(1+(r/radius)^8). */
RARE_CLONES void coordinationNumbers(const double* positions, int n, double radius, double* numbers) {
    double scale = 1/(radius*radius);
    for (int i = 0; i < n*Lanes; i++)
        numbers[i] = 0;
    for (int i = 0; i < n; i++)
        for (int j = i+1; j < n; j++) {
            const double *a = positions+3*i*Lanes, *b = positions+3*j*Lanes;
            double *first = numbers+i*Lanes, *second = numbers+j*Lanes;
            double terms[Lanes]; // in memory of its own, or the compiler could not use vectors
            for (int lane = 0; lane < Lanes; lane++) {
                double dx = a[lane]-b[lane], dy = a[lane+Lanes]-b[lane+Lanes], dz = a[lane+2*Lanes]-b[lane+2*Lanes];
                double square = (dx*dx+dy*dy+dz*dz)*scale, fourth = square*square;
                terms[lane] = 1/(1+fourth*fourth);
            }
            for (int lane = 0; lane < Lanes; lane++)
                first[lane] += terms[lane];
            for (int lane = 0; lane < Lanes; lane++)
                second[lane] += terms[lane];
        }
}

/** Mean of the numbers [n][Lanes] for order 1, or their central moment. */
RARE_CLONES void centralMoment(const double* numbers, int n, int order, double* result) {
    double mean[Lanes] = {}, moment[Lanes] = {};
    for (int i = 0; i < n; i++)
        for (int lane = 0; lane < Lanes; lane++)
            mean[lane] += numbers[i*Lanes+lane];
    for (int lane = 0; lane < Lanes; lane++)
        mean[lane] /= n;
    for (int i = 0; i < n; i++)
        for (int lane = 0; lane < Lanes; lane++) {
            double deviation = numbers[i*Lanes+lane]-mean[lane], square = deviation*deviation;
            moment[lane] += order == 2 ? square : square*deviation;
        }
    for (int lane = 0; lane < Lanes; lane++)
        result[lane] = order == 1 ? mean[lane] : moment[lane]/n;
}

} // namespace

void RegionTest::coordinationMoment(const Variable& variable, const double* positions, double* result) {
    if (variable.values[0] != numbersRadius) {
        numbersRadius = variable.values[0];
        coordinationNumbers(positions, numParticles, numbersRadius, numbers.data());
    }
    centralMoment(numbers.data(), numParticles, variable.indices[0], result);
}

/** The remainder of a division, from 0 up to the divisor, as in Python. */
static double modulo(double value, double divisor) {
    double result = fmod(value, divisor);
    return result < 0 ? result+divisor : result;
}

/** Whether values of a variable lie in a range. */
static void testRange(const Region::Range& range, double period, const double* values, char* inside) {
    const double width = range.upper-range.lower;
    for (int lane = 0; lane < Lanes; lane++)
        if (period == 0)
            inside[lane] &= values[lane] >= range.lower && values[lane] <= range.upper;
        else if (width < period)
            inside[lane] &= !(modulo(values[lane]-range.lower, period) > modulo(width, period));
}

void RegionTest::testDisc(const Region::Disc& disc, char* inside) const {
    double squares[Lanes] = {};
    for (size_t i = 0; i < disc.variables.size(); i++) {
        const double *value = &values[disc.variables[i]*Lanes], period = variables[disc.variables[i]].period;
        for (int lane = 0; lane < Lanes; lane++) {
            double difference = value[lane]-disc.center[i];
            if (period != 0)
                difference -= period*nearbyint(difference/period);
            squares[lane] += difference*difference;
        }
    }
    for (int lane = 0; lane < Lanes; lane++)
        inside[lane] &= squares[lane] < disc.radius*disc.radius;
}

void RegionTest::testRegions() {
    fill(inside.begin(), inside.end(), 1);
    for (size_t k = 0; k < regions.size(); k++) {
        for (auto& range : regions[k].ranges)
            testRange(range, variables[range.variable].period, &values[range.variable*Lanes], &inside[k*Lanes]);
        for (auto& disc : regions[k].discs)
            testDisc(disc, &inside[k*Lanes]);
    }
}

void RegionTest::evaluate(const double* positions) {
    numbersRadius = 0;
    for (size_t k = 0; k < variables.size(); k++) {
        const Variable& variable = variables[k];
        const vector<int>& indices = variable.indices;
        double* result = values.data()+k*Lanes;
        if (variable.kind == Variable::CoordinationMoment)
            coordinationMoment(variable, positions, result);
        else
            for (int lane = 0; lane < Lanes; lane++) {
                if (variable.kind == Variable::Coordinate)
                    result[lane] = positions[(3*indices[0]+indices[1])*Lanes+lane];
                else if (variable.kind == Variable::Distance) {
                    Vector d = between(positions, lane, indices[0], indices[1]);
                    result[lane] = sqrt(d.dot(d));
                }
                else if (variable.kind == Variable::Angle)
                    result[lane] = angle(positions, lane, indices);
                else if (variable.kind == Variable::Dihedral)
                    result[lane] = dihedral(positions, lane, indices);
                else {
                    result[lane] = 0;
                    for (int i = 0; i < 3*numParticles; i++)
                        result[lane] += variable.values[i]*positions[i*Lanes+lane];
                }
            }
    }
    testRegions();
}
