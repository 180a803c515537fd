"""What benches are made with: arguments, turns, loads, clocks, virtual microphones, servers that note what arrives."""
