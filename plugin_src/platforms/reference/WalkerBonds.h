#ifndef OPENMM_RARE_WALKERBONDS_H_
#define OPENMM_RARE_WALKERBONDS_H_

namespace OpenMMRare {

/**
 * Everything that it takes to evaluate a WalkerBondForce, as plain data; WalkerBondPlanner fills it.
 *
 * The work space consists of rows, each with one number for every walker of a block.  Row 0 is the distance of the particles of a
 * bond, and row k what instruction k-1 has computed of earlier rows and of numbers that only the bond determines.  Where lists
 * tell which bonds are short, a row is instead of one walker, with one number for every bond of a part of its list.
 */
struct WalkerBondPlan {
    /** Arguments a, b and c are rows, u is one of the numbers of the bond. */
    enum Operation : int {
        Fill,               // u
        Add,                // a+b
        AddNumber,          // a+u
        Subtract,           // a-b
        SubtractFromNumber, // u-a
        Multiply,           // a*b
        MultiplyByNumber,   // a*u
        Divide,             // a/b
        DivideNumber,       // u/a
        SquareRoot, Absolute,
        Step,               // 1 for a >= 0, otherwise 0
        Delta,              // 1 for a = 0, otherwise 0
        Min, Max,           // of a and b
        Select,             // c for a = 0, otherwise b
        CallOne, CallTwo    // a function of the C library, of a or of a and b
    };
    struct Instruction {
        int operation;
        int a, b, c;
        /** Index of the number. */
        int number;
        double (*ofOne)(double);
        double (*ofTwo)(double, double);
    };
    /** Walkers in a block, and bonds in a part of a list. */
    static constexpr int Lanes = 32;

    int numParticles, numBonds, numSets, numNumbers;
    /** Distance at which bonds end to act; infinite for none. */
    double cutoff;
    /** The particles of each bond; the last one is there again until its last part is full, and so in lists. */
    const int* particles;
    /** Bonds with equal parameters have a set of numbers in common: its index by bond. */
    const int* sets;
    /** By set. */
    const double* numbers;
    /** The derivative of the energy takes the first so many instructions, the energy itself all of them. */
    int numForSlope, numForEnergy;
    const Instruction* instructions;
    /** Rows of the results. */
    int slope, energy;
    /** First rows of positions and of forces, 3 for each particle. */
    int positions, forces;
    /** For bonds of a list: 4 rows for the vectors between their particles, and as many as there are numbers. */
    int differences, numbersOfBonds;
    int numRows;
};

/** The code for one instruction set. */
struct WalkerBondVariant {
    /**
     * Add the forces of up to Lanes walkers to theirs, and compute their energies.
     *
     * @param positions   3 numbers of each particle, one walker after the other
     * @param work        numRows rows of Lanes numbers, aligned to 64 bytes
     * @param forces      like the positions, or NULL
     * @param energies    one for each walker, or NULL
     */
    void (*evaluate)(const WalkerBondPlan& plan, const double* positions, int count, double* work, double* forces,
                     double* energies);
    /**
     * The same for one walker, of the bonds of a list alone: all that are shorter than the cutoff, in ascending order.  The result
     * is the same to the last bit, whatever longer ones are there, too.
     *
     * @param particles   of each bond of the list
     * @param sets        of numbers of each, if there are several
     */
    void (*evaluateListed)(const WalkerBondPlan& plan, const double* positions, const int* particles, const int* sets, int numListed,
                           double* work, double* forces, double* energy);
    /**
     * List the bonds of one walker that are not longer than a distance.
     *
     * @param bonds   numBonds numbers
     * @return how many there are
     */
    int (*listBonds)(const WalkerBondPlan& plan, const double* positions, double distance, double* work, int* bonds);
};

extern const WalkerBondVariant walkerBondVariant_baseline, walkerBondVariant_avx2, walkerBondVariant_avx512;

/** The variant for this machine. */
const WalkerBondVariant& getWalkerBondVariant();

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBONDS_H_*/
