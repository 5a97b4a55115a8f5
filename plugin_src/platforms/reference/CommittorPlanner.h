#ifndef OPENMM_RARE_COMMITTORPLANNER_H_
#define OPENMM_RARE_COMMITTORPLANNER_H_

#include "CommittorForce.h"
#include "CommittorNetwork.h"
#include <deque>
#include <vector>

namespace OpenMMRare {

/** Makes the plan for the evaluation of a CommittorForce, and owns all memory that the plan refers to. */
class CommittorPlanner {
public:
    /**
     * @param force          a force that has been found consistent
     * @param numParticles   of one walker
     */
    CommittorPlanner(const CommittorForce& force, int numParticles);
    CommittorPlanner(const CommittorPlanner&) = delete;
    CommittorPlanner& operator=(const CommittorPlanner&) = delete;
    const CommittorPlan& getPlan() const { return plan; }
    /** Take other weights and biases. */
    void setParameters(const std::vector<double>& parameters);
private:
    /** Weights are read in vectors from here. */
    struct alignas(64) Chunk { float values[CommittorPlan::Padding]; };
    int addRows(int count);
    const float* keep(const std::vector<double>& values);
    CommittorPlan::SortingNetwork sortingNetwork(int length);
    void planRadii(const CommittorForce& force);
    void planParts(const CommittorForce& force);
    void planLayers(const CommittorForce& force);
    CommittorPlan plan;
    std::vector<double> radii;
    std::vector<CommittorPlan::Part> parts;
    std::vector<CommittorPlan::Layer> layers;
    std::vector<float> steepness;
    std::vector<int> needsMoments, inLogit, widths;
    std::deque<std::vector<float> > constants;
    std::deque<std::vector<int> > indices;
    std::deque<std::vector<Chunk> > weights;
    std::vector<float> lastWeights;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMITTORPLANNER_H_*/
