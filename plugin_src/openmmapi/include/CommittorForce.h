#ifndef OPENMM_RARE_COMMITTORFORCE_H_
#define OPENMM_RARE_COMMITTORFORCE_H_

#include "RareExport.h"
#include "openmm/Context.h"
#include "openmm/Force.h"
#include <vector>

namespace OpenMMRare {

/**
 * The bias energy scale * ln I, summed over walkers, of an importance function I = 1/(1+exp(-q)).  The logit q of a walker is
 * the output of a network of fully connected layers whose inputs are features of the walker's positions, plus the sum of some
 * of these features themselves.  Particles w*n to (w+1)*n-1 of the System are walker w.
 */
class OPENMM_EXPORT_RARE CommittorForce : public OpenMM::Force {
public:
    enum Activation : int { SiLU = 0, Tanh = 1, SELU = 2 };
    /** Features of all pairs of a walker's particles; coordination numbers are sum_j 1/(1+(r/radius)^8). */
    struct Feature {
        enum Kind : int { Distances = 0, Coordination = 1, CoordinationMoments = 2, DiscGap = 3, Coordinates = 4 };
        Kind kind;
        /** Distances and Coordination: in ascending order. */
        bool sorted;
        /** nm; of the coordination numbers. */
        double radius;
        /**
         * DiscGap, ln(max(|moments - center| - disc radius, 0) + offset): the center, the disc radius and the offset.
         * Coordinates, M x with the chosen coordinates x in nm: the matrix, row by row.
         */
        std::vector<double> values;
        /** Coordinates: the chosen ones, 3 particle + axis. */
        std::vector<int> columns;
        /** Number of features that it makes, for walkers of n particles. */
        int size(int n) const;
    };
    /**
     * @param numWalkers      must divide the number of particles of the System
     * @param scale           energy per ln I, in kJ/mol: -2 kT for the bias of overdamped dynamics
     * @param activation      of all layers but the last
     */
    CommittorForce(int numWalkers, double scale, Activation activation=SiLU);
    int getNumWalkers() const { return numWalkers; }
    double getScale() const { return scale; }
    Activation getActivation() const { return activation; }
    /** Only the first so many coordinates of each particle count. */
    int getNumDimensions() const { return numDimensions; }
    void setNumDimensions(int value);
    int addFeature(const Feature& feature);
    const std::vector<Feature>& getFeatures() const { return features; }
    /** Features, counted from 0 through all of them, that are added to the output of the network. */
    const std::vector<int>& getInLogit() const { return inLogit; }
    void setInLogit(const std::vector<int>& value);
    /** Widths of all layers: the features first, and 1 at the end. */
    const std::vector<int>& getWidths() const { return widths; }
    /** For every layer the weights, row by row, and then the biases. */
    const std::vector<double>& getParameters() const { return parameters; }
    void setNetwork(const std::vector<int>& widths, const std::vector<double>& parameters);
    /** Give the network of a Context new parameters, of the same widths. */
    void updateParametersInContext(OpenMM::Context& context);
    bool usesPeriodicBoundaryConditions() const { return false; }
protected:
    OpenMM::ForceImpl* createImpl() const;
private:
    int numWalkers, numDimensions;
    double scale;
    Activation activation;
    std::vector<Feature> features;
    std::vector<int> inLogit, widths;
    std::vector<double> parameters;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMITTORFORCE_H_*/
