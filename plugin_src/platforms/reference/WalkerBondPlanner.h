#ifndef OPENMM_RARE_WALKERBONDPLANNER_H_
#define OPENMM_RARE_WALKERBONDPLANNER_H_

#include "WalkerBonds.h"
#include "lepton/ExpressionTreeNode.h"
#include "openmm/CustomBondForce.h"
#include <map>
#include <set>
#include <string>
#include <vector>

namespace OpenMMRare {

/** Makes the plan for the evaluation of a WalkerBondForce, and owns all memory that the plan refers to. */
class WalkerBondPlanner {
public:
    /**
     * @param bonds          of one walker; they have been found consistent
     * @param numParticles   of one walker
     * @param cutoff         infinite for none
     */
    WalkerBondPlanner(const OpenMM::CustomBondForce& bonds, int numParticles, double cutoff);
    WalkerBondPlanner(const WalkerBondPlanner&) = delete;
    WalkerBondPlanner& operator=(const WalkerBondPlanner&) = delete;
    const WalkerBondPlan& getPlan() const { return plan; }
    /** Take values of all global parameters: needed before the first evaluation. */
    void setGlobalParameters(const std::map<std::string, double>& values);
private:
    typedef Lepton::ExpressionTreeNode Node;
    void keepBonds(const OpenMM::CustomBondForce& force);
    void planExpressions(const std::string& energy);
    bool changes(const Node& node) const;
    int number(const Node& node);
    int row(const Node& node);
    int arithmetic(const Node& node);
    int power(int base, int exponent);
    int call(const Node& node);
    int add(WalkerBondPlan::Instruction instruction);
    WalkerBondPlan plan;
    std::vector<int> particles, sets;
    /** By set. */
    std::vector<std::map<std::string, double> > parameters;
    std::set<std::string> globals;
    std::vector<WalkerBondPlan::Instruction> instructions;
    /** Expressions without r, and their values by set. */
    std::vector<Node> expressions;
    std::vector<double> numbers;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBONDPLANNER_H_*/
