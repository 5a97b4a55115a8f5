"""What pages let people explore: figures of plotly.js as plain data, molecules for 3Dmol.js, and the scripts themselves."""
