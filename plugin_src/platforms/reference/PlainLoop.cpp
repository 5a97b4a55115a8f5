// Biased dynamics of Lennard-Jones discs as a plain loop, with nothing of OpenMM in a step: what benchmark.py compares with.
#include "BiasedOverdampedLangevinIntegrator.h"
#include "CommittorPlanner.h"
#include "RandomNormals.h"
#include "RareExport.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

/** U = 4 epsilon sum over pairs of t^2 - t, t = 1/(alpha + (r/sigma)^6). */
struct PlainDiscs {
    int numParticles;
    double mass, epsilon, sigma, alpha;
};

static const int Lanes = RegionTest::Lanes;

/** Forces [3*numParticles][Lanes] in the plane, at positions [3*numParticles][Lanes]. */
RARE_CLONES static void computeForces(const PlainDiscs& discs, const double* __restrict x, double* __restrict forces) {
    const double steepness = pow(discs.sigma, -6), factor = 24*discs.epsilon*steepness, alpha = discs.alpha;
    fill(forces, forces+3*discs.numParticles*Lanes, 0.0);
    for (int i = 0; i < discs.numParticles; i++)
        for (int j = i+1; j < discs.numParticles; j++) {
            const double *a = x+3*i*Lanes, *b = x+3*j*Lanes;
            double *first = forces+3*i*Lanes, *second = forces+3*j*Lanes;
            for (int lane = 0; lane < Lanes; lane++) {
                double dx = a[lane]-b[lane], dy = a[lane+Lanes]-b[lane+Lanes];
                double square = dx*dx+dy*dy, fourth = square*square, t = 1/(alpha+steepness*fourth*square);
                double slope = factor*(2*t-1)*t*t*fourth;
                first[lane] += slope*dx;
                first[lane+Lanes] += slope*dy;
                second[lane] -= slope*dx;
                second[lane+Lanes] -= slope*dy;
            }
        }
}

namespace {

class PlainLoop {
public:
    PlainLoop(const BiasedOverdampedLangevinIntegrator& integrator, const CommittorForce& force, const PlainDiscs& discs, int seed,
              double* positions, double* logWeights) : integrator(integrator), discs(discs), positions(positions),
            logWeights(logWeights), bias(-force.getScale()), numCoordinates(3*discs.numParticles),
            numWalkers(integrator.getNumWalkers()), variant(getCommittorVariant()), planner(force, discs.numParticles),
            normals(seed), test(integrator.getVariables(), integrator.getAbsorbingRegions(), discs.numParticles),
            x(numCoordinates*Lanes), forces(x), shifts(numCoordinates*numWalkers), costs(numWalkers), logits(numWalkers),
            work(((size_t) planner.getPlan().numRows*variant.blockSize+15)/16) {
        mobility = integrator.getStepSize()/(integrator.getFriction()*discs.mass);
        spread = sqrt(2*BOLTZ*integrator.getTemperature()*mobility);
        toShift = integrator.getBiasStrength()*spread/(2*BOLTZ*integrator.getTemperature());
    }
    /** Returns how many times a walker was found in a region. */
    int run(int numSteps) {
        int found = 0;
        for (int step = 0; step < numSteps; step++) {
            if (step%integrator.getBiasInterval() == 0)
                setShifts();
            for (int first = 0; first < numWalkers; first += Lanes)
                found += move(first, min(Lanes, numWalkers-first), (step+1)%integrator.getCheckInterval() == 0);
        }
        return found;
    }
private:
    struct alignas(64) Line { float values[16]; };

    void setShifts() {
        const double bound = integrator.getMaxShift();
        fill(shifts.begin(), shifts.end(), 0.0);
        for (int first = 0; first < numWalkers; first += variant.blockSize)
            variant.evaluate(planner.getPlan(), positions+first*numCoordinates, min(variant.blockSize, numWalkers-first),
                             work[0].values, &logits[first], &shifts[first*numCoordinates], bias);
        for (int walker = 0; walker < numWalkers; walker++) {
            costs[walker] = 0;
            for (int k = walker*numCoordinates; k < (walker+1)*numCoordinates; k++) {
                shifts[k] = min(max(toShift*shifts[k], -bound), bound);
                costs[walker] += 0.5*shifts[k]*shifts[k];
            }
        }
    }

    int move(int first, int count, bool check) {
        for (int lane = 0; lane < Lanes; lane++)
            for (int k = 0; k < numCoordinates; k++)
                x[k*Lanes+lane] = positions[(first+min(lane, count-1))*numCoordinates+k];
        computeForces(discs, x.data(), forces.data());
        for (int lane = 0; lane < count; lane++) {
            double gain = 0, *position = positions+(first+lane)*numCoordinates, *shift = &shifts[(first+lane)*numCoordinates];
            for (int k = 0; k < numCoordinates; k++) {
                if (k%3 == 2)
                    continue;
                double xi = normals();
                position[k] = x[k*Lanes+lane] += mobility*forces[k*Lanes+lane]+spread*(xi+shift[k]);
                gain -= shift[k]*xi;
            }
            logWeights[first+lane] += gain-costs[first+lane];
        }
        return check ? lookUp(count) : 0;
    }

    int lookUp(int count) {
        int found = 0;
        test.evaluate(x.data());
        for (int k = 0; k < (int) integrator.getAbsorbingRegions().size(); k++)
            for (int lane = 0; lane < count; lane++)
                found += test.contains(k, lane);
        return found;
    }

    const BiasedOverdampedLangevinIntegrator& integrator;
    const PlainDiscs discs;
    double *positions, *logWeights;
    const double bias;
    const int numCoordinates, numWalkers;
    const CommittorVariant& variant;
    CommittorPlanner planner;
    RandomNormals normals;
    RegionTest test;
    /** By coordinate and lane. */
    vector<double> x, forces;
    /** By walker. */
    vector<double> shifts, costs;
    vector<float> logits;
    vector<Line> work;
    double mobility, spread, toShift;
};

} // namespace

/**
 * Move walkers as an integrator and a force describe it, but do not stop those that are found in a region.
 *
 * @param positions    three coordinates of each particle, one walker after the other
 * @param logWeights   one for each walker
 * @return how many times a walker was found in a region, or -1 for arguments that do not fit
 */
extern "C" OPENMM_EXPORT_RARE int rare_plain_steps(void* integrator, void* force, const PlainDiscs* discs, int seed, int numSteps,
                                                   double* positions, double* logWeights) {
    try {
        PlainLoop loop(dynamic_cast<BiasedOverdampedLangevinIntegrator&>(*static_cast<Integrator*>(integrator)),
                       dynamic_cast<CommittorForce&>(*static_cast<Force*>(force)), *discs, seed, positions, logWeights);
        return loop.run(numSteps);
    }
    catch (const exception&) {
        return -1;
    }
}
