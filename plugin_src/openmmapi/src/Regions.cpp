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

/** Look at the values that a variable has beside its box, and at the box. */
static void checkValues(const Variable& variable) {
    const size_t own = variable.boxPlace(), length = variable.values.size();
    check(length == own || length == own+Variable::BoxLength,
          "a distance, an angle or a dihedral needs no numbers, a coordination moment a radius, and each can have a box of 6 more");
    if (const double* box = variable.box()) {
        check(all_of(box, box+Variable::BoxLength, [](double value) { return isfinite(value); }), "the box of a variable must be finite");
        check(box[0] > 0 && box[2] > 0 && box[5] > 0, "the box of a variable must have positive edges");
    }
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
            checkValues(variable);
            break;
        case Variable::CoordinationMoment:
            check(length == 1 && variable.indices[0] >= 1 && variable.indices[0] <= 3, "a coordination moment needs an order, 1 to 3");
            checkValues(variable);
            check(variable.values[0] > 0, "a coordination moment needs a positive radius");
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
        variables(variables), regions(regions), numParticles(numParticles), numbersOf(nullptr),
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

/** The nearest of the periodic images of a vector; as everywhere in OpenMM, exact for those shorter than half of the box. */
Vector nearestImage(Vector v, const double* box) {
    const double c = nearbyint(v.z/box[5]);
    v = {v.x-c*box[3], v.y-c*box[4], v.z-c*box[5]};
    const double b = nearbyint(v.y/box[2]);
    v = {v.x-b*box[1], v.y-b*box[2], v.z};
    return {v.x-nearbyint(v.x/box[0])*box[0], v.y, v.z};
}

/** A variable that is made of vectors between particles of one walker. */
class Geometry {
public:
    Geometry(const Variable& variable, const double* positions, int lane) :
            atoms(variable.indices), box(variable.box()), positions(positions+lane) {
    }
    double distance() const {
        Vector d = between(0, 1);
        return sqrt(d.dot(d));
    }
    double angle() const {
        Vector a = between(1, 0), b = between(1, 2), normal = a.cross(b);
        return atan2(sqrt(normal.dot(normal)), a.dot(b));
    }
    double dihedral() const {
        Vector b1 = between(0, 1), b2 = between(1, 2), b3 = between(2, 3), n1 = b1.cross(b2), n2 = b2.cross(b3);
        return atan2(sqrt(b2.dot(b2))*b1.dot(n2), n1.dot(n2));
    }
private:
    /** The vector from one of the variable's particles to another. */
    Vector between(int i, int j) const {
        const double *from = positions+3*atoms[i]*Lanes, *to = positions+3*atoms[j]*Lanes;
        const Vector v = {to[0]-from[0], to[Lanes]-from[Lanes], to[2*Lanes]-from[2*Lanes]};
        return box == nullptr ? v : nearestImage(v, box);
    }
    const vector<int>& atoms;
    const double *box, *positions;
};

/** Scaled squared distances [Lanes] of the nearest images of two particles. */
void imageSquares(const double* a, const double* b, double scale, const double* box, double* squares) {
    for (int lane = 0; lane < Lanes; lane++) {
        const Vector d = nearestImage({a[lane]-b[lane], a[lane+Lanes]-b[lane+Lanes], a[lane+2*Lanes]-b[lane+2*Lanes]}, box);
        squares[lane] = d.dot(d)*scale;
    }
}

/** Smooth coordination numbers [n][Lanes], sum_j 1/(1+(r/radius)^8). */
RARE_CLONES void coordinationNumbers(const double* positions, int n, double radius, const double* box, double* numbers) {
    double scale = 1/(radius*radius);
    for (int i = 0; i < n*Lanes; i++)
        numbers[i] = 0;
    for (int i = 0; i < n; i++)
        for (int j = i+1; j < n; j++) {
            const double *a = positions+3*i*Lanes, *b = positions+3*j*Lanes;
            double *first = numbers+i*Lanes, *second = numbers+j*Lanes;
            double terms[Lanes]; // in memory of its own, or the compiler could not use vectors
            if (box != nullptr)
                imageSquares(a, b, scale, box, terms);
            else
                for (int lane = 0; lane < Lanes; lane++) {
                    double dx = a[lane]-b[lane], dy = a[lane+Lanes]-b[lane+Lanes], dz = a[lane+2*Lanes]-b[lane+2*Lanes];
                    terms[lane] = (dx*dx+dy*dy+dz*dz)*scale;
                }
            for (int lane = 0; lane < Lanes; lane++) {
                double fourth = terms[lane]*terms[lane];
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
    if (numbersOf == nullptr || *numbersOf != variable.values) {
        numbersOf = &variable.values;
        coordinationNumbers(positions, numParticles, variable.values[0], variable.box(), numbers.data());
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
    numbersOf = nullptr;
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
                else if (variable.kind == Variable::Distance)
                    result[lane] = Geometry(variable, positions, lane).distance();
                else if (variable.kind == Variable::Angle)
                    result[lane] = Geometry(variable, positions, lane).angle();
                else if (variable.kind == Variable::Dihedral)
                    result[lane] = Geometry(variable, positions, lane).dihedral();
                else {
                    result[lane] = 0;
                    for (int i = 0; i < 3*numParticles; i++)
                        result[lane] += variable.values[i]*positions[i*Lanes+lane];
                }
            }
    }
    testRegions();
}
